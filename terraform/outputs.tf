locals {
  counts = { for role in local.roles : role => length([for m in local.machines : m if m.role == role]) }

  inventory = {
    for name, m in local.machines : name => {
      role           = m.role
      address        = yandex_compute_instance.machine[name].network_interface[0].ip_address
      public_address = contains(local.public_roles, m.role) ? yandex_compute_instance.machine[name].network_interface[0].nat_ip_address : null
      fqdn           = yandex_compute_instance.machine[name].fqdn
      zone           = m.zone
      disk           = try("/dev/disk/by-id/virtio-${local.disks[name].device}", null)
      node_index     = m.index
      node_count     = local.counts[m.role]
    }
  }
}

output "inventory" {
  description = "Every machine: role, addresses, the device of its disk, its number among the machines of its role."
  value       = local.inventory
}

locals {
  # The machines of this installation, or those that were named.
  clickhouse_urls = length(var.clickhouse_urls) > 0 ? var.clickhouse_urls : [for name, m in local.inventory : "http://${m.address}:8123" if m.role == "clickhouse"]

  # Host variables; Ansible's own names and ours do not mix.
  host_vars = {
    for name, m in local.inventory : name => {
      ansible_host         = m.role == "jump" ? m.public_address : m.address
      logbroker_role       = m.role
      logbroker_address    = m.address
      logbroker_disk       = m.disk
      logbroker_node_index = m.node_index
      logbroker_node_count = m.node_count
    }
  }
}

output "ansible_inventory" {
  description = "The same as an Ansible inventory: save it as inventory.json and give it to ansible-playbook -i."
  value = {
    all = {
      vars = {
        ansible_user              = var.ssh_user
        logbroker_registry        = "cr.yandex/${yandex_container_registry.main.id}"
        logbroker_clickhouse_urls = local.clickhouse_urls
      }
      children = {
        jump = {
          hosts = { jump = local.host_vars["jump"] }
        }
        inside = {
          vars = {
            ansible_ssh_common_args = "-o ProxyJump=${var.ssh_user}@${local.inventory["jump"].public_address}"
          }
          children = {
            for role in ["edge", "broker", "clickhouse", "keeper", "monitoring"] : role => {
              hosts = { for name, h in local.host_vars : name => h if h.logbroker_role == role }
            }
          }
        }
      }
    }
  }
}

output "clickhouse_urls" {
  description = "Where the brokers' flushers deliver: all replicas, in the same order for each."
  value       = local.clickhouse_urls
}

output "service_address" {
  description = "Where clients send events; point the DNS name here."
  value       = yandex_vpc_address.service.external_ipv4_address[0].address
}

output "jump_address" {
  description = "The one machine that accepts SSH from outside."
  value       = yandex_vpc_address.jump.external_ipv4_address[0].address
}

output "ssh" {
  description = "How to log in to a machine inside: append its address."
  value       = "ssh -J ${var.ssh_user}@${yandex_vpc_address.jump.external_ipv4_address[0].address} -l ${var.ssh_user}"
}

output "registry" {
  description = "Images are pushed to and pulled from REGISTRY/broker, REGISTRY/edge and REGISTRY/clickhouse."
  value       = "cr.yandex/${yandex_container_registry.main.id}"
}

output "ci_service_account_id" {
  description = "The account CI pushes images with; make its key with yc, not here."
  value       = yandex_iam_service_account.ci.id
}

output "billable" {
  description = "What is paid for and counts against quotas: vCPUs by guaranteed share (percent), memory, disks by type, addresses."
  value = {
    machines  = length(local.machines)
    vcpus     = { for share in distinct([for m in local.machines : m.size.core_fraction]) : share => sum([for m in local.machines : m.size.cores if m.size.core_fraction == share]) }
    memory_gb = sum([for m in local.machines : m.size.memory])
    disk_gb = {
      for type in ["network-hdd", "network-ssd", "network-ssd-io-m3"] : type => sum(concat(
        [0],
        [for m in local.machines : m.size.boot_disk if type == "network-ssd"],
        [for d in local.disks : d.machine.size.disk if type == d.machine.size.disk_type],
      ))
    }
    public_addresses = length([for m in local.machines : m if contains(local.public_roles, m.role)]) + 1
    static_addresses = 2
    load_balancers   = 1
    keys             = var.encrypt_disks ? 1 : 0
  }
}
