# The disks that hold what must not be lost: a spool per broker, ClickHouse's
# data, what Keeper knows of them, and what monitoring has gathered. They
# outlive their machines. Growing is in place; nothing here is ever destroyed
# by an apply (see teardown_override.tf.example).

locals {
  # role -> name of its disk's device
  devices = {
    broker     = "spool"
    clickhouse = "data"
    keeper     = "keeper"
    monitoring = "monitoring"
  }
  disks = { for name, m in local.machines : name => { machine = m, device = local.devices[m.role] } if contains(keys(local.devices), m.role) }
}

resource "yandex_compute_disk" "disk" {
  for_each = local.disks

  name   = "${var.name}-${each.key}-${each.value.device}"
  labels = merge(local.labels, { role = each.value.machine.role })
  zone   = each.value.machine.zone
  size   = each.value.machine.size.disk
  type   = each.value.machine.size.disk_type

  kms_key_id = var.encrypt_disks ? yandex_kms_symmetric_key.disks[0].id : null

  # A disk brought back from a snapshot and imported is as good as a new one;
  # and one that is not encrypted is not to be replaced by an empty one that is.
  lifecycle {
    prevent_destroy = true
    ignore_changes  = [snapshot_id, kms_key_id]
  }
}

# Without this key nothing on the disks can be read.
resource "yandex_kms_symmetric_key" "disks" {
  count = var.encrypt_disks ? 1 : 0

  name                = "${var.name}-disks"
  description         = "Disks with events."
  labels              = local.labels
  default_algorithm   = "AES_256"
  rotation_period     = "8760h"
  deletion_protection = local.deletion_protection

  lifecycle {
    prevent_destroy = true
  }
}

# Only ClickHouse's disks. A spool brought back from a snapshot would number new
# events like those it has already delivered: a lost spool is replaced empty.
resource "yandex_compute_snapshot_schedule" "clickhouse" {
  count = length(local.clickhouse_zones) > 0 ? 1 : 0

  name             = "${var.name}-clickhouse"
  labels           = local.labels
  disk_ids         = [for name, disk in yandex_compute_disk.disk : disk.id if local.disks[name].device == "data"]
  retention_period = "${var.snapshots.days * 24}h"

  schedule_policy {
    expression = var.snapshots.cron
  }
  snapshot_spec {
    labels = local.labels
  }
}

moved {
  from = yandex_compute_snapshot_schedule.clickhouse
  to   = yandex_compute_snapshot_schedule.clickhouse[0]
}
