# Images. Machines may pull, CI may push, nobody has more than that. Keys are
# not made here, so that none is in the state.

locals {
  images = toset(["broker", "edge", "clickhouse"])
}

resource "yandex_container_registry" "main" {
  name   = var.name
  labels = local.labels
}

resource "yandex_container_repository" "image" {
  for_each = local.images

  name = "${yandex_container_registry.main.id}/${each.key}"
}

# Each push leaves an image behind; the newest 20 are enough to roll back.
resource "yandex_container_repository_lifecycle_policy" "image" {
  for_each = local.images

  name          = "${each.key}-keep-newest"
  repository_id = yandex_container_repository.image[each.key].id
  status        = "active"

  rule {
    description   = "images that lost their tag"
    untagged      = true
    expire_period = "48h"
  }
  rule {
    description   = "tagged images but the newest"
    tag_regexp    = ".*"
    retained_top  = 20
    expire_period = "2160h"
  }
}

resource "yandex_iam_service_account" "machine" {
  name        = "${var.name}-machine"
  description = "Machines: pull images."
}

resource "yandex_iam_service_account" "ci" {
  name        = "${var.name}-ci"
  description = "CI: push images."
}

# A binding is authoritative: whoever else was given the role loses it.
resource "yandex_container_registry_iam_binding" "pull" {
  registry_id = yandex_container_registry.main.id
  role        = "container-registry.images.puller"
  members     = ["serviceAccount:${yandex_iam_service_account.machine.id}"]
}

resource "yandex_container_registry_iam_binding" "push" {
  registry_id = yandex_container_registry.main.id
  role        = "container-registry.images.pusher"
  members     = ["serviceAccount:${yandex_iam_service_account.ci.id}"]
}
