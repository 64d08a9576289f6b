# What the machines look like: disks, inventory, growth, and the variables that
# are refused.

mock_provider "yandex" {
  override_during = plan

  mock_resource "yandex_compute_instance" {
    defaults = {
      fqdn              = "host.ru-central1.internal"
      network_interface = { nat_ip_address = "203.0.113.20" }
    }
  }
  mock_resource "yandex_container_registry" {
    defaults = { id = "registry-1" }
  }
}

override_resource {
  target          = yandex_vpc_address.jump
  override_during = plan
  values          = { external_ipv4_address = { address = "203.0.113.1" } }
}
override_resource {
  target          = yandex_vpc_address.service
  override_during = plan
  values          = { external_ipv4_address = { address = "203.0.113.2" } }
}
override_resource {
  target          = yandex_compute_disk.disk["clickhouse-1"]
  override_during = plan
  values          = { id = "disk-clickhouse" }
}
override_resource {
  target          = yandex_compute_disk.disk["broker-1"]
  override_during = plan
  values          = { id = "disk-broker-1" }
}
override_resource {
  target          = yandex_compute_disk.disk["broker-2"]
  override_during = plan
  values          = { id = "disk-broker-2" }
}

variables {
  admin_cidrs     = ["198.51.100.7/32"]
  ssh_public_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITest ops"]
}

run "disks" {
  command = plan

  assert {
    condition     = { for name, d in yandex_compute_disk.disk : name => "${d.size} ${d.type} ${d.zone}" } == { broker-1 = "64 network-ssd ru-central1-a", broker-2 = "64 network-ssd ru-central1-a", clickhouse-1 = "256 network-ssd ru-central1-a" }
    error_message = "Each broker has a spool disk and ClickHouse a data disk."
  }
  assert {
    condition = { for name, m in yandex_compute_instance.machine : name => one([for d in m.secondary_disk : "${d.disk_id} ${d.device_name} ${d.auto_delete}"]) if length(m.secondary_disk) > 0 } == {
      broker-1     = "disk-broker-1 spool false"
      broker-2     = "disk-broker-2 spool false"
      clickhouse-1 = "disk-clickhouse data false"
    }
    error_message = "Each disk is attached to its machine, and outlives it."
  }
  assert {
    condition     = one(yandex_compute_snapshot_schedule.clickhouse).disk_ids == toset(["disk-clickhouse"])
    error_message = "Snapshots are taken of the ClickHouse disk, and never of a spool."
  }
  assert {
    condition     = one(yandex_compute_snapshot_schedule.clickhouse).retention_period == "168h"
    error_message = "Snapshots are kept for seven days by default."
  }
}

run "inventory" {
  command = plan

  assert {
    condition = jsonencode(output.inventory) == jsonencode({
      jump = {
        role = "jump", zone = "ru-central1-a", address = "10.10.0.10", public_address = "203.0.113.1"
        fqdn = "host.ru-central1.internal", disk = null, node_index = 0, node_count = 1
      }
      edge-1 = {
        role = "edge", zone = "ru-central1-a", address = "10.10.0.20", public_address = "203.0.113.20"
        fqdn = "host.ru-central1.internal", disk = null, node_index = 0, node_count = 1
      }
      broker-1 = {
        role = "broker", zone = "ru-central1-a", address = "10.10.128.20", public_address = null
        fqdn = "host.ru-central1.internal", disk = "/dev/disk/by-id/virtio-spool", node_index = 0, node_count = 2
      }
      broker-2 = {
        role = "broker", zone = "ru-central1-a", address = "10.10.128.21", public_address = null
        fqdn = "host.ru-central1.internal", disk = "/dev/disk/by-id/virtio-spool", node_index = 1, node_count = 2
      }
      clickhouse-1 = {
        role = "clickhouse", zone = "ru-central1-a", address = "10.10.128.10", public_address = null
        fqdn = "host.ru-central1.internal", disk = "/dev/disk/by-id/virtio-data", node_index = 0, node_count = 1
      }
    })
    error_message = "The inventory differs from what Ansible expects."
  }
  assert {
    condition     = output.ansible_inventory.all.children.jump.hosts.jump.ansible_host == "203.0.113.1" && output.ansible_inventory.all.children.inside.vars.ansible_ssh_common_args == "-o ProxyJump=ops@203.0.113.1"
    error_message = "Ansible must go through the jump host."
  }
  assert {
    condition = { for role, group in output.ansible_inventory.all.children.inside.children : role => [for name, h in group.hosts : "${name} ${h.ansible_host}"] } == {
      edge       = ["edge-1 10.10.0.20"]
      broker     = ["broker-1 10.10.128.20", "broker-2 10.10.128.21"]
      clickhouse = ["clickhouse-1 10.10.128.10"]
      keeper     = []
      monitoring = []
    }
    error_message = "Machines behind the jump host are reached by their private addresses, grouped by role."
  }
  assert {
    condition     = output.ansible_inventory.all.vars.logbroker_clickhouse_urls == tolist(["http://10.10.128.10:8123"])
    error_message = "The flushers must be told where ClickHouse is."
  }
  assert {
    condition     = output.service_address == "203.0.113.2" && output.registry == "cr.yandex/registry-1"
    error_message = "Wrong service address or registry."
  }
  assert {
    condition     = jsonencode(output.billable) == jsonencode({ machines = 5, vcpus = { "20" = 2, "100" = 10 }, memory_gb = 30, disk_gb = { network-hdd = 0, network-ssd = 484, network-ssd-io-m3 = 0 }, public_addresses = 3, static_addresses = 2, load_balancers = 1, keys = 0 })
    error_message = "The quantities to be paid are wrong."
  }
}

run "appending_moves_nothing" {
  command = plan
  variables {
    zone         = "ru-central1-b"
    broker_zones = ["ru-central1-a", "ru-central1-a", "ru-central1-d"]
  }

  assert {
    condition = { for name, h in output.inventory : name => "${h.zone} ${h.address} ${h.node_index}/${h.node_count}" if h.role != "jump" } == {
      edge-1       = "ru-central1-a 10.10.0.20 0/1"
      broker-1     = "ru-central1-a 10.10.128.20 0/3"
      broker-2     = "ru-central1-a 10.10.128.21 1/3"
      broker-3     = "ru-central1-d 10.10.130.22 2/3"
      clickhouse-1 = "ru-central1-b 10.10.129.10 0/1"
    }
    error_message = "A machine's address depends on something else than its role, number and zone."
  }
}

run "replicas" {
  command = plan
  override_resource {
    target          = yandex_compute_disk.disk["clickhouse-2"]
    override_during = plan
    values          = { id = "disk-clickhouse-2" }
  }
  variables {
    zone             = "ru-central1-b"
    clickhouse_zones = ["ru-central1-a", "ru-central1-b"]
    monitoring       = { disk = 50 }
  }

  assert {
    condition = { for name, h in output.inventory : name => "${h.role} ${h.zone} ${h.address} ${h.node_index}/${h.node_count} ${h.disk}" if contains(["clickhouse", "keeper", "monitoring"], h.role) } == {
      clickhouse-1 = "clickhouse ru-central1-a 10.10.128.10 0/2 /dev/disk/by-id/virtio-data"
      clickhouse-2 = "clickhouse ru-central1-b 10.10.129.11 1/2 /dev/disk/by-id/virtio-data"
      keeper-1     = "keeper ru-central1-a 10.10.128.13 0/3 /dev/disk/by-id/virtio-keeper"
      keeper-2     = "keeper ru-central1-b 10.10.129.14 1/3 /dev/disk/by-id/virtio-keeper"
      keeper-3     = "keeper ru-central1-d 10.10.130.15 2/3 /dev/disk/by-id/virtio-keeper"
      monitoring-1 = "monitoring ru-central1-b 10.10.129.16 0/1 /dev/disk/by-id/virtio-monitoring"
    }
    error_message = "Two replicas need two machines, three of Keeper, and addresses of their own."
  }
  assert {
    condition     = output.ansible_inventory.all.vars.logbroker_clickhouse_urls == tolist(["http://10.10.128.10:8123", "http://10.10.129.11:8123"])
    error_message = "The flushers must be told of both replicas."
  }
  assert {
    condition     = [for name, h in output.ansible_inventory.all.children.inside.children.keeper.hosts : name] == ["keeper-1", "keeper-2", "keeper-3"] && [for name, h in output.ansible_inventory.all.children.inside.children.monitoring.hosts : name] == ["monitoring-1"]
    error_message = "Ansible must find Keeper and monitoring in groups of their own."
  }
  assert {
    condition     = one(yandex_compute_snapshot_schedule.clickhouse).disk_ids == toset(["disk-clickhouse", "disk-clickhouse-2"]) && length(yandex_compute_disk.disk) == 8
    error_message = "Snapshots are taken of both replicas' disks, and of no other."
  }
  assert {
    condition     = length(distinct([for h in output.inventory : h.address])) == length(output.inventory)
    error_message = "Two machines share an address."
  }
}

run "clickhouse_elsewhere" {
  command = plan
  variables {
    clickhouse_zones = []
    clickhouse_urls  = ["https://rc1a-x.mdb.yandexcloud.net:8443"]
  }

  assert {
    condition     = output.ansible_inventory.all.vars.logbroker_clickhouse_urls == tolist(["https://rc1a-x.mdb.yandexcloud.net:8443"]) && length(output.ansible_inventory.all.children.inside.children.clickhouse.hosts) == 0
    error_message = "The flushers must be told of the ClickHouse that was named."
  }
  assert {
    condition     = toset(keys(yandex_compute_disk.disk)) == toset(["broker-1", "broker-2"])
    error_message = "With ClickHouse elsewhere there must be no disk for it."
  }
}

run "encrypted_and_protected" {
  command = plan
  variables {
    encrypt_disks = true
  }
  override_resource {
    target          = yandex_kms_symmetric_key.disks
    override_during = plan
    values          = { id = "key-disks" }
  }

  assert {
    condition     = alltrue([for d in yandex_compute_disk.disk : d.kms_key_id == "key-disks"])
    error_message = "A disk with events is not encrypted with the key."
  }
  assert {
    condition = alltrue([
      yandex_vpc_address.jump.deletion_protection, yandex_vpc_address.service.deletion_protection,
      yandex_lb_network_load_balancer.edge.deletion_protection, one(yandex_kms_symmetric_key.disks).deletion_protection,
    ])
    error_message = "An address, the load balancer or the key can be deleted by mistake."
  }
}

run "pinned_images" {
  command = plan
  variables {
    image_id      = "image-debian"
    jump_image_id = "image-nat"
  }

  assert {
    condition     = alltrue([for m in yandex_compute_instance.machine : m.boot_disk[0].initialize_params[0].image_id == (m.labels.role == "jump" ? "image-nat" : "image-debian")])
    error_message = "A machine does not use the image named for it."
  }
  assert {
    condition     = length(data.yandex_compute_image.debian) == 0 && length(data.yandex_compute_image.jump) == 0
    error_message = "A named image must not be looked up."
  }
}

run "refuses_the_whole_internet_as_admins" {
  command = plan
  variables {
    admin_cidrs = ["198.51.100.7/32", "0.0.0.0/0"]
  }
  expect_failures = [var.admin_cidrs]
}

run "refuses_no_admins" {
  command = plan
  variables {
    admin_cidrs = []
  }
  expect_failures = [var.admin_cidrs]
}

run "refuses_an_address_that_is_no_network" {
  command = plan
  variables {
    admin_cidrs = ["198.51.100.7"]
  }
  expect_failures = [var.admin_cidrs]
}

run "refuses_a_private_key" {
  command = plan
  variables {
    ssh_public_keys = ["-----BEGIN OPENSSH PRIVATE KEY-----"]
  }
  expect_failures = [var.ssh_public_keys]
}

run "refuses_root_as_ssh_user" {
  command = plan
  variables {
    ssh_user = "root"
  }
  expect_failures = [var.ssh_user]
}

run "refuses_a_bad_name" {
  command = plan
  variables {
    name = "Log_Broker"
  }
  expect_failures = [var.name]
}

run "refuses_docker_s_networks" {
  command = plan
  variables {
    network_cidr = "172.17.0.0/16"
  }
  expect_failures = [var.network_cidr]
}

run "refuses_unknown_zones" {
  command = plan
  variables {
    zone         = "ru-central1-c"
    edge_zones   = ["ru-central1-c"]
    broker_zones = []
  }
  expect_failures = [var.zone, var.edge_zones, var.broker_zones]
}

run "refuses_bad_client_networks" {
  command = plan
  variables {
    client_cidrs = ["everyone"]
  }
  expect_failures = [var.client_cidrs]
}

run "refuses_bad_reader_networks" {
  command = plan
  variables {
    reader_cidrs = ["198.51.100.7"]
  }
  expect_failures = [var.reader_cidrs]
}

run "refuses_disks_that_lose_events" {
  command = plan
  variables {
    broker     = { disk = 93, disk_type = "network-ssd-nonreplicated" }
    clickhouse = { disk = 186, disk_type = "network-ssd-nonreplicated" }
  }
  expect_failures = [var.broker, var.clickhouse]
}

run "refuses_odd_sizes" {
  command = plan
  variables {
    jump       = { core_fraction = 30 }
    edge       = { memory = 1 }
    broker     = { disk = 50, disk_type = "network-ssd-io-m3" }
    clickhouse = { disk = 1 }
    snapshots  = { days = 0 }
  }
  expect_failures = [var.jump, var.edge, var.broker, var.clickhouse, var.snapshots]
}

run "refuses_two_places_for_clickhouse" {
  command = plan
  variables {
    clickhouse_urls = ["https://rc1a-x.mdb.yandexcloud.net:8443"]
  }
  expect_failures = [var.clickhouse_urls]
}

run "refuses_no_place_for_clickhouse" {
  command = plan
  variables {
    clickhouse_zones = []
  }
  expect_failures = [var.clickhouse_urls]
}

run "refuses_a_clickhouse_without_tls" {
  command = plan
  variables {
    clickhouse_zones = []
    clickhouse_urls  = ["http://rc1a-x.mdb.yandexcloud.net:8123"]
  }
  expect_failures = [var.clickhouse_urls]
}

run "refuses_odd_replicas" {
  command = plan
  variables {
    clickhouse_zones = ["ru-central1-a", "ru-central1-a", "ru-central1-b", "ru-central1-d"]
    keeper_zones     = ["ru-central1-a", "ru-central1-b"]
    keeper           = { disk_type = "network-ssd-nonreplicated" }
    monitoring       = { memory = 1 }
  }
  expect_failures = [var.clickhouse_zones, var.keeper_zones, var.keeper, var.monitoring]
}
