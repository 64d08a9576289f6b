# One address in front of the edges, from the first one on, so that none is ever
# moved when edges come and go. Connections pass unchanged, so the edges still
# see the clients' addresses and hold the TLS.

resource "yandex_lb_target_group" "edge" {
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
  name                = var.name
  labels              = local.labels
  type                = "external"
  deletion_protection = local.deletion_protection

  dynamic "listener" {
    for_each = merge({ http = 80, https = 443, grpc = 4317 }, length(var.reader_cidrs) == 0 ? {} : { readers = 9443 })
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
    target_group_id = yandex_lb_target_group.edge.id
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

  # Until 0.1.0 a single edge had the service's address, and keeps it until it
  # is taken away.
  lifecycle {
    precondition {
      condition     = alltrue([for m in yandex_compute_instance.machine : m.network_interface[0].nat_ip_address != yandex_vpc_address.service.external_ipv4_address[0].address])
      error_message = "An edge still has the service's address, which is the load balancer's. Give it another one: docs/deploy-terraform.md, \"The edge has the service's address\"."
    }
  }
}

# Terraform knew these by number when there were none with a single edge.
moved {
  from = yandex_lb_target_group.edge[0]
  to   = yandex_lb_target_group.edge
}

moved {
  from = yandex_lb_network_load_balancer.edge[0]
  to   = yandex_lb_network_load_balancer.edge
}
