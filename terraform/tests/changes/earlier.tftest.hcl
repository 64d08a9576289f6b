# An installation in which the only edge still has the service's address, as it
# had until 0.1.0: the plan says so, instead of an apply that stops half-way.

mock_provider "yandex" {
  override_during = plan

  mock_resource "yandex_compute_instance" {
    defaults = { network_interface = { nat_ip_address = "203.0.113.2" } }
  }
}

override_resource {
  target          = yandex_vpc_address.service
  override_during = plan
  values          = { external_ipv4_address = { address = "203.0.113.2" } }
}

variables {
  admin_cidrs     = ["198.51.100.7/32"]
  ssh_public_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITest ops"]
}

run "the_edge_has_the_address" {
  command         = plan
  expect_failures = [yandex_lb_network_load_balancer.edge]
}
