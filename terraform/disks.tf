# The disks that hold events: a spool per broker, and ClickHouse's data. They
# outlive their machines. Growing is in place; nothing here is ever destroyed
# by an apply (see teardown_override.tf.example).

locals {
  disks = merge(
    { for name, m in local.machines : name => { machine = m, device = "spool" } if m.role == "broker" },
    { for name, m in local.machines : name => { machine = m, device = "data" } if m.role == "clickhouse" },
  )
}

resource "yandex_compute_disk" "disk" {
  for_each = local.disks

  name   = "${var.name}-${each.key}-${each.value.device}"
  labels = merge(local.labels, { role = each.value.machine.role })
  zone   = each.value.machine.zone
  size   = each.value.machine.size.disk
  type   = each.value.machine.size.disk_type

  # A disk brought back from a snapshot and imported is as good as a new one.
  lifecycle {
    prevent_destroy = true
    ignore_changes  = [snapshot_id]
  }
}

# Only ClickHouse's disk. A spool brought back from a snapshot would number new
# events like those it has already delivered: a lost spool is replaced empty.
resource "yandex_compute_snapshot_schedule" "clickhouse" {
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
