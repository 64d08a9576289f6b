# What becomes of the service's address when edges come and go: applied, one
# change after the other, because an address that a machine has had stays with it
# when the configuration no longer names one, and a plan from nothing does not
# show that. With teardown_override.tf (tests/deploy/terraform.sh copies it):
# the disks go at the end.

mock_provider "yandex" {
  mock_resource "yandex_compute_instance" {
    defaults = { network_interface = { nat_ip_address = "203.0.113.99" } }
  }
}

override_resource {
  target = yandex_vpc_address.jump
  values = { external_ipv4_address = { address = "203.0.113.1" } }
}
override_resource {
  target = yandex_vpc_address.service
  values = { external_ipv4_address = { address = "203.0.113.2" } }
}

variables {
  admin_cidrs     = ["198.51.100.7/32"]
  ssh_public_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITest ops"]
}

run "one_edge" {
  variables {
    edge_zones = ["ru-central1-a"]
  }

  assert {
    condition     = [for name, m in yandex_compute_instance.machine : name if m.network_interface[0].nat_ip_address == "203.0.113.2"] == []
    error_message = "A machine has the service's address."
  }
  assert {
    condition     = toset([for l in yandex_lb_network_load_balancer.edge.listener : one(l.external_address_spec).address]) == toset(["203.0.113.2"])
    error_message = "The service's address is not the load balancer's."
  }
  assert {
    condition     = length(yandex_lb_target_group.edge.target) == 1
    error_message = "The load balancer has not each edge for a target."
  }
}

run "two_edges" {
  variables {
    edge_zones = ["ru-central1-a", "ru-central1-b"]
  }

  assert {
    condition     = [for name, m in yandex_compute_instance.machine : name if m.network_interface[0].nat_ip_address == "203.0.113.2"] == []
    error_message = "A machine has the service's address."
  }
  assert {
    condition     = output.service_address == run.one_edge.service_address
    error_message = "A second edge must leave the load balancer and its address alone."
  }
  assert {
    condition     = toset([for l in yandex_lb_network_load_balancer.edge.listener : one(l.external_address_spec).address]) == toset(["203.0.113.2"])
    error_message = "The service's address is not the load balancer's."
  }
  assert {
    condition     = length(yandex_lb_target_group.edge.target) == 2
    error_message = "The load balancer has not each edge for a target."
  }
}

run "one_edge_again" {
  variables {
    edge_zones = ["ru-central1-a"]
  }

  assert {
    condition     = [for name, m in yandex_compute_instance.machine : name if m.network_interface[0].nat_ip_address == "203.0.113.2"] == []
    error_message = "A machine has the service's address."
  }
  assert {
    condition     = output.service_address == run.one_edge.service_address
    error_message = "The load balancer and its address must outlive the second edge."
  }
  assert {
    condition     = length(yandex_lb_target_group.edge.target) == 1
    error_message = "The load balancer has not each edge for a target."
  }
}
