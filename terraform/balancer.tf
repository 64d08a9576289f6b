# With two or more edges: one address in front of them. Connections pass
# unchanged, so the edges still see the clients' addresses and hold the TLS.

resource "yandex_lb_target_group" "edge" {
  count = local.balanced ? 1 : 0

  name   = "${var.name}-edge"
  labels = local.labels

  dynamic "target" {
    for_each = { for name, m in local.machines : name => m if m.role == "edge" }
    content {
      subnet_id = yandex_vpc_subnet.public[target.value.zone].id
      address   = yandex_compute_instance.machine[target.key].network_interface[0].ip_address
    }
  }
}

resource "yandex_lb_network_load_balancer" "edge" {
  count = local.balanced ? 1 : 0

  name   = var.name
  labels = local.labels
  type   = "external"

  dynamic "listener" {
    for_each = { http = 80, https = 443, grpc = 4317 }
    content {
      name        = listener.key
      port        = listener.value
      target_port = listener.value
      protocol    = "tcp"
      external_address_spec {
        address    = yandex_vpc_address.service.external_ipv4_address[0].address
        ip_version = "ipv4"
      }
    }
  }

  attached_target_group {
    target_group_id = yandex_lb_target_group.edge[0].id
    healthcheck {
      name                = "http"
      interval            = 2
      timeout             = 1
      healthy_threshold   = 2
      unhealthy_threshold = 2
      tcp_options {
        port = 80
      }
    }
  }
}
