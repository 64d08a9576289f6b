# All machines, from one table. Addresses are fixed by role and number, so that
# a machine that is replaced comes back where the others look for it.

data "yandex_compute_image" "jump" {
  count  = var.jump_image_id == null ? 1 : 0
  family = "nat-instance-ubuntu-2204"
}

data "yandex_compute_image" "debian" {
  count  = var.image_id == null ? 1 : 0
  family = "debian-12"
}

locals {
  jump_image_id = var.jump_image_id != null ? var.jump_image_id : data.yandex_compute_image.jump[0].id
  image_id      = var.image_id != null ? var.image_id : data.yandex_compute_image.debian[0].id

  machines = merge(
    {
      jump = {
        role    = "jump"
        index   = 0
        zone    = var.zone
        address = local.jump_address
        size    = var.jump
      }
    },
    {
      for i, zone in var.edge_zones : "edge-${i + 1}" => {
        role    = "edge"
        index   = i
        zone    = zone
        address = cidrhost(local.public_cidrs[zone], 20 + i)
        size    = var.edge
      }
    },
    {
      for i, zone in var.broker_zones : "broker-${i + 1}" => {
        role    = "broker"
        index   = i
        zone    = zone
        address = cidrhost(local.private_cidrs[zone], 20 + i)
        size    = var.broker
      }
    },
    {
      for i, zone in local.clickhouse_zones : "clickhouse-${i + 1}" => {
        role    = "clickhouse"
        index   = i
        zone    = zone
        address = cidrhost(local.private_cidrs[zone], 10 + i)
        size    = var.clickhouse
      }
    },
    {
      for i, zone in local.keeper_zones : "keeper-${i + 1}" => {
        role    = "keeper"
        index   = i
        zone    = zone
        address = cidrhost(local.private_cidrs[zone], 13 + i)
        size    = var.keeper
      }
    },
    {
      for i, size in var.monitoring == null ? [] : [var.monitoring] : "monitoring-${i + 1}" => {
        role    = "monitoring"
        index   = i
        zone    = var.zone
        address = cidrhost(local.private_cidrs[var.zone], 16 + i)
        size    = size
      }
    },
  )

  # Replicas agree on what they have through Keeper, of which a majority has to
  # be there: three, whether there are two replicas or three.
  clickhouse_zones = var.clickhouse_zones == null ? [var.zone] : var.clickhouse_zones
  keeper_zones     = length(local.clickhouse_zones) > 1 ? var.keeper_zones : []

  public_roles = toset(["jump", "edge"])

  # Read at the first boot only; later changes of users are Ansible's.
  user_data = "#cloud-config\n${yamlencode({
    disable_root = true
    ssh_pwauth   = false
    users = [{
      name                = var.ssh_user
      groups              = "sudo"
      shell               = "/bin/bash"
      sudo                = "ALL=(ALL) NOPASSWD:ALL"
      lock_passwd         = true
      ssh_authorized_keys = var.ssh_public_keys
    }]
  })}"
}

resource "yandex_compute_instance" "machine" {
  for_each = local.machines

  name                      = "${var.name}-${each.key}"
  hostname                  = each.key
  labels                    = merge(local.labels, { role = each.value.role })
  zone                      = each.value.zone
  platform_id               = var.platform
  allow_stopping_for_update = true

  # The account may pull images and nothing else; containers can reach it
  # through the metadata service. The jump host pulls nothing.
  service_account_id = each.value.role == "jump" ? null : yandex_iam_service_account.machine.id

  resources {
    cores         = each.value.size.cores
    memory        = each.value.size.memory
    core_fraction = each.value.size.core_fraction
  }

  boot_disk {
    initialize_params {
      image_id = each.value.role == "jump" ? local.jump_image_id : local.image_id
      size     = each.value.size.boot_disk
      type     = "network-ssd"
    }
  }

  dynamic "secondary_disk" {
    for_each = contains(keys(local.disks), each.key) ? [yandex_compute_disk.disk[each.key].id] : []
    content {
      disk_id     = secondary_disk.value
      device_name = local.disks[each.key].device
      auto_delete = false
    }
  }

  network_interface {
    subnet_id          = contains(local.public_roles, each.value.role) ? yandex_vpc_subnet.public[each.value.zone].id : yandex_vpc_subnet.private[each.value.zone].id
    ip_address         = each.value.address
    nat                = contains(local.public_roles, each.value.role)
    nat_ip_address     = each.value.role == "jump" ? yandex_vpc_address.jump.external_ipv4_address[0].address : null
    security_group_ids = [yandex_vpc_security_group.role[each.value.role].id]
  }

  metadata = {
    user-data = local.user_data
  }

  # The token is for Google-style requests with their header only.
  metadata_options {
    gce_http_endpoint    = 1
    gce_http_token       = 1
    aws_v1_http_endpoint = 2
    aws_v1_http_token    = 2
  }

  # A newer image of the family is no reason to replace a running machine.
  lifecycle {
    ignore_changes = [boot_disk[0].initialize_params[0].image_id]
  }
}
