# Who can be reached, by whom, and which way private machines get out. Plans
# only, with a mocked provider: neither credentials nor a folder are needed.

mock_provider "yandex" {
  override_during = plan

  # What a rule does not name: no port range, no peer.
  mock_resource "yandex_vpc_security_group_rule" {
    defaults = {
      from_port         = -1
      to_port           = -1
      security_group_id = ""
      predefined_target = ""
      v4_cidr_blocks    = []
      v6_cidr_blocks    = []
    }
  }
  mock_resource "yandex_compute_instance" {
    defaults = { service_account_id = "" }
  }
  mock_resource "yandex_vpc_route_table" {
    defaults = { id = "route-private" }
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
  target          = yandex_vpc_subnet.public["ru-central1-a"]
  override_during = plan
  values          = { id = "subnet-public" }
}
override_resource {
  target          = yandex_vpc_subnet.private["ru-central1-a"]
  override_during = plan
  values          = { id = "subnet-private" }
}
override_resource {
  target          = yandex_vpc_security_group.role["jump"]
  override_during = plan
  values          = { id = "jump" }
}
override_resource {
  target          = yandex_vpc_security_group.role["edge"]
  override_during = plan
  values          = { id = "edge" }
}
override_resource {
  target          = yandex_vpc_security_group.role["broker"]
  override_during = plan
  values          = { id = "broker" }
}
override_resource {
  target          = yandex_vpc_security_group.role["clickhouse"]
  override_during = plan
  values          = { id = "clickhouse" }
}

variables {
  admin_cidrs     = ["198.51.100.7/32"]
  ssh_public_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITest ops"]
}

run "public_addresses" {
  command = plan

  assert {
    condition     = toset([for name, m in yandex_compute_instance.machine : name if anytrue([for i in m.network_interface : i.nat])]) == toset(["jump", "edge-1"])
    error_message = "Exactly the jump host and the edge have public addresses."
  }
  assert {
    condition     = toset(keys(yandex_compute_instance.machine)) == toset(["jump", "edge-1", "broker-1", "broker-2", "clickhouse-1"])
    error_message = "The default installation has other machines than expected."
  }
  assert {
    condition     = alltrue([for m in yandex_compute_instance.machine : length(m.network_interface) == 1])
    error_message = "A machine has a second network interface."
  }
  assert {
    condition     = yandex_compute_instance.machine["jump"].network_interface[0].nat_ip_address == "203.0.113.1"
    error_message = "The jump host must have its static address."
  }
  assert {
    condition     = alltrue([for m in yandex_compute_instance.machine : m.network_interface[0].nat_ip_address != "203.0.113.2"])
    error_message = "The service's address must be the load balancer's, and never a machine's."
  }
  assert {
    condition     = toset([for l in yandex_lb_network_load_balancer.edge.listener : "${one(l.external_address_spec).address} ${l.port} ${l.target_port}"]) == toset(["203.0.113.2 80 80", "203.0.113.2 443 443", "203.0.113.2 4317 4317"])
    error_message = "The load balancer must have the service's address with one edge, too."
  }
}

run "rules" {
  command = plan

  # The whole table, read back from the resources: rule by rule who may open
  # what to whom. A rule added, lost or widened shows here.
  assert {
    condition = toset([
      for r in yandex_vpc_security_group_rule.rule : join(" ", [
        r.security_group_binding, r.direction, r.protocol, r.port,
        join(",", concat(r.v4_cidr_blocks, compact([r.security_group_id, r.predefined_target]))),
      ])
      ]) == toset([
      "jump ingress TCP 22 198.51.100.7/32",
      "jump ingress TCP 80 10.10.128.0/17",
      "jump ingress TCP 443 10.10.128.0/17",
      "jump ingress UDP 123 10.10.128.0/17",
      "jump egress TCP 22 edge",
      "jump egress TCP 22 broker",
      "jump egress TCP 22 clickhouse",
      "jump egress TCP 80 0.0.0.0/0",
      "jump egress TCP 443 0.0.0.0/0",
      "jump egress UDP 123 0.0.0.0/0",

      "edge ingress TCP 80 0.0.0.0/0",
      "edge ingress TCP 443 0.0.0.0/0",
      "edge ingress TCP 4317 0.0.0.0/0",
      "edge ingress TCP 22 jump",
      "edge ingress TCP 80 loadbalancer_healthchecks",
      "edge egress TCP 8080 broker",
      "edge egress TCP 4317 broker",
      "edge egress TCP 8443 broker",
      "edge egress TCP 4318 broker",
      "edge egress TCP 80 0.0.0.0/0",
      "edge egress TCP 443 0.0.0.0/0",
      "edge egress UDP 123 0.0.0.0/0",

      "broker ingress TCP 8080 edge",
      "broker ingress TCP 4317 edge",
      "broker ingress TCP 8443 edge",
      "broker ingress TCP 4318 edge",
      "broker ingress TCP 22 jump",
      "broker egress TCP 8123 clickhouse",
      "broker egress TCP 80 0.0.0.0/0",
      "broker egress TCP 443 0.0.0.0/0",
      "broker egress UDP 123 0.0.0.0/0",

      "clickhouse ingress TCP 8123 broker",
      "clickhouse ingress TCP 8123 jump",
      "jump egress TCP 8123 clickhouse",
      "clickhouse ingress TCP 22 jump",
      "clickhouse egress TCP 80 0.0.0.0/0",
      "clickhouse egress TCP 443 0.0.0.0/0",
      "clickhouse egress UDP 123 0.0.0.0/0",
    ])
    error_message = "The rules differ from the agreed table."
  }
  assert {
    condition     = alltrue([for r in yandex_vpc_security_group_rule.rule : r.port > 0 && r.from_port == -1 && r.to_port == -1 && length(r.v6_cidr_blocks) == 0])
    error_message = "A rule opens a range of ports, all ports, or IPv6."
  }

  # The same in the words of the promise, so that a change to the table above
  # cannot take the promise with it.
  assert {
    condition = alltrue([
      for r in yandex_vpc_security_group_rule.rule :
      r.security_group_binding == "jump" ? r.v4_cidr_blocks == tolist(var.admin_cidrs) : r.security_group_id == "jump" && length(r.v4_cidr_blocks) == 0
      if r.direction == "ingress" && r.port == 22
    ])
    error_message = "SSH may come only from the admins to the jump host, and from the jump host to the rest."
  }
  assert {
    condition = alltrue([
      for r in yandex_vpc_security_group_rule.rule :
      contains(["broker", "jump"], r.security_group_id) && length(r.v4_cidr_blocks) == 0
      if r.direction == "ingress" && r.security_group_binding == "clickhouse"
    ])
    error_message = "ClickHouse may be reached only by brokers, and by the jump host for SSH."
  }
  assert {
    condition = alltrue([
      for r in yandex_vpc_security_group_rule.rule : r.security_group_binding == "edge"
      if r.direction == "ingress" && contains(r.v4_cidr_blocks, "0.0.0.0/0")
    ])
    error_message = "Only the edge may be reached from everywhere."
  }
}

run "groups" {
  command = plan

  assert {
    condition     = alltrue([for name, m in yandex_compute_instance.machine : m.network_interface[0].security_group_ids == toset([m.labels.role])])
    error_message = "Each machine is in the group of its role and in no other."
  }
  assert {
    condition     = alltrue([for g in yandex_vpc_security_group.role : length(g.ingress) == 0 && length(g.egress) == 0])
    error_message = "Inline rules beside rule resources undo each other."
  }
  assert {
    condition     = length(yandex_vpc_default_security_group.empty.ingress) == 0 && length(yandex_vpc_default_security_group.empty.egress) == 0
    error_message = "The default group must let nothing through."
  }
}

run "way_out" {
  command = plan

  assert {
    condition = toset([for r in yandex_vpc_route_table.private.static_route : "${r.destination_prefix} ${r.next_hop_address}"]) == toset([
      "0.0.0.0/0 ${yandex_compute_instance.machine["jump"].network_interface[0].ip_address}"
    ])
    error_message = "The private subnets' only route must lead to the NAT instance."
  }
  assert {
    condition     = alltrue([for s in yandex_vpc_subnet.private : s.route_table_id == yandex_vpc_route_table.private.id])
    error_message = "A private subnet does not use the route through the NAT instance."
  }
  # With that route a public address would not work.
  assert {
    condition     = alltrue([for s in yandex_vpc_subnet.public : s.route_table_id == null])
    error_message = "A public subnet must have no route table."
  }
  assert {
    condition = { for name, m in yandex_compute_instance.machine : name => m.network_interface[0].subnet_id } == {
      jump         = "subnet-public"
      edge-1       = "subnet-public"
      broker-1     = "subnet-private"
      broker-2     = "subnet-private"
      clickhouse-1 = "subnet-private"
    }
    error_message = "Brokers and ClickHouse belong into the private subnet, jump host and edge into the public one."
  }
  assert {
    condition     = data.yandex_compute_image.jump[0].family == "nat-instance-ubuntu-2204"
    error_message = "The jump host must be made from an image that forwards."
  }
}

run "accounts" {
  command = plan

  override_resource {
    target          = yandex_iam_service_account.machine
    override_during = plan
    values          = { id = "account-machine" }
  }
  override_resource {
    target          = yandex_iam_service_account.ci
    override_during = plan
    values          = { id = "account-ci" }
  }

  assert {
    condition     = yandex_container_registry_iam_binding.pull.role == "container-registry.images.puller" && yandex_container_registry_iam_binding.pull.members == toset(["serviceAccount:account-machine"])
    error_message = "The machines' account may pull images, and nobody else."
  }
  assert {
    condition     = yandex_container_registry_iam_binding.push.role == "container-registry.images.pusher" && yandex_container_registry_iam_binding.push.members == toset(["serviceAccount:account-ci"])
    error_message = "The account of CI may push images, and nobody else."
  }
  assert {
    condition     = alltrue([for m in yandex_compute_instance.machine : m.service_account_id == (m.labels.role == "jump" ? "" : "account-machine")])
    error_message = "A machine has another account than the one that may only pull, or the jump host has one."
  }
  assert {
    condition     = alltrue([for m in yandex_compute_instance.machine : m.metadata_options[0].aws_v1_http_endpoint == 2 && m.metadata_options[0].aws_v1_http_token == 2])
    error_message = "The token must not be served without the Google header."
  }
  assert {
    condition     = alltrue([for m in yandex_compute_instance.machine : can(regex("\"ssh_pwauth\": false", m.metadata.user-data)) && can(regex("\"disable_root\": true", m.metadata.user-data))])
    error_message = "A machine lets root or passwords in."
  }
}

# Two replicas, Keeper, monitoring: what they add to the table above, and nothing
# else.
run "replicas_and_monitoring" {
  command = plan
  variables {
    clickhouse_zones = ["ru-central1-a", "ru-central1-b"]
    monitoring       = {}
  }
  override_resource {
    target          = yandex_vpc_security_group.role["keeper"]
    override_during = plan
    values          = { id = "keeper" }
  }
  override_resource {
    target          = yandex_vpc_security_group.role["monitoring"]
    override_during = plan
    values          = { id = "monitoring" }
  }

  assert {
    condition = toset([
      for r in yandex_vpc_security_group_rule.rule : join(" ", [
        r.security_group_binding, r.direction, r.port, join(",", compact([r.security_group_id, r.predefined_target])),
      ]) if length(setintersection([r.security_group_binding, r.security_group_id], ["keeper", "monitoring"])) > 0 || r.security_group_binding == "clickhouse" && length(r.v4_cidr_blocks) == 0
      ]) == toset([
      "clickhouse ingress 8123 broker",
      "clickhouse ingress 8123 jump",
      "clickhouse ingress 22 jump",
      "clickhouse ingress 9000 self_security_group",
      "clickhouse egress 9000 self_security_group",
      "clickhouse ingress 9009 self_security_group",
      "clickhouse egress 9009 self_security_group",
      "clickhouse egress 9181 keeper",
      "clickhouse ingress 9100 monitoring",
      "clickhouse ingress 8123 monitoring",

      "keeper ingress 22 jump",
      "keeper ingress 9181 clickhouse",
      "keeper ingress 9234 self_security_group",
      "keeper egress 9234 self_security_group",
      "keeper ingress 9100 monitoring",
      "keeper ingress 9182 monitoring",
      "keeper egress 80 ",
      "keeper egress 443 ",
      "keeper egress 123 ",

      "monitoring ingress 22 jump",
      "monitoring ingress 3000 jump",
      "monitoring ingress 9090 jump",
      "monitoring ingress 9093 jump",
      "monitoring egress 9100 jump",
      "monitoring egress 9100 edge",
      "monitoring egress 9100 broker",
      "monitoring egress 9100 clickhouse",
      "monitoring egress 9100 keeper",
      "monitoring egress 9182 keeper",
      "monitoring egress 8080 broker",
      "monitoring egress 9145 edge",
      "monitoring egress 80 edge",
      "monitoring egress 443 edge",
      "monitoring egress 8123 clickhouse",
      "monitoring egress 80 ",
      "monitoring egress 443 ",
      "monitoring egress 123 ",

      "jump egress 22 keeper",
      "jump egress 22 monitoring",
      "jump egress 3000 monitoring",
      "jump egress 9090 monitoring",
      "jump egress 9093 monitoring",
      "jump ingress 9100 monitoring",
      "edge ingress 9100 monitoring",
      "edge ingress 9145 monitoring",
      "edge ingress 80 monitoring",
      "edge ingress 443 monitoring",
      "broker ingress 9100 monitoring",
      "broker ingress 8080 monitoring",
    ])
    error_message = "Replicas, Keeper and monitoring open other ports than agreed."
  }
  # What one side may send the other side must take.
  assert {
    condition = toset([
      for r in yandex_vpc_security_group_rule.rule : "${r.security_group_binding} ${r.port} ${r.security_group_id}" if r.direction == "egress" && r.security_group_id != ""
      ]) == toset([
      for r in yandex_vpc_security_group_rule.rule : "${r.security_group_id} ${r.port} ${r.security_group_binding}" if r.direction == "ingress" && r.security_group_id != ""
    ])
    error_message = "A machine may send what the other one does not take, or the other way round."
  }
  assert {
    condition     = toset([for name, m in yandex_compute_instance.machine : name if m.network_interface[0].nat]) == toset(["jump", "edge-1"])
    error_message = "Exactly the jump host and the edge have public addresses."
  }
  assert {
    condition = alltrue([
      for r in yandex_vpc_security_group_rule.rule :
      r.security_group_binding == "jump" ? r.v4_cidr_blocks == tolist(var.admin_cidrs) : r.security_group_id == "jump" && length(r.v4_cidr_blocks) == 0
      if r.direction == "ingress" && r.port == 22
    ])
    error_message = "SSH may come only from the admins to the jump host, and from the jump host to the rest."
  }
  assert {
    condition = alltrue([
      for r in yandex_vpc_security_group_rule.rule : r.security_group_binding == "edge"
      if r.direction == "ingress" && contains(r.v4_cidr_blocks, "0.0.0.0/0")
    ])
    error_message = "Only the edge may be reached from everywhere."
  }
}

# ClickHouse elsewhere, such as Yandex Managed Service for ClickHouse.
run "clickhouse_elsewhere" {
  command = plan
  variables {
    clickhouse_zones = []
    clickhouse_urls  = ["https://rc1a-x.mdb.yandexcloud.net:8443", "https://rc1b-x.mdb.yandexcloud.net:8443"]
  }

  assert {
    condition     = toset(keys(yandex_compute_instance.machine)) == toset(["jump", "edge-1", "broker-1", "broker-2"])
    error_message = "With ClickHouse elsewhere there must be no machine for it."
  }
  assert {
    condition     = toset(keys(yandex_vpc_security_group.role)) == toset(["jump", "edge", "broker"]) && length(yandex_compute_snapshot_schedule.clickhouse) == 0
    error_message = "With ClickHouse elsewhere there must be neither a group nor snapshots for it."
  }
  assert {
    condition = toset([
      for r in yandex_vpc_security_group_rule.rule : "${r.direction} ${r.port} ${join(",", r.v4_cidr_blocks)}" if r.security_group_binding == "broker" && r.port > 4318 && r.security_group_id != "edge"
      ]) == toset([
      "egress 8443 10.10.0.0/16",
    ])
    error_message = "Brokers must reach the ClickHouse that was named, in this network, and none else."
  }
}

# Readers with a certificate: a port more, from their networks and no others.
run "readers" {
  command = plan
  variables {
    reader_cidrs = ["198.51.100.0/24", "192.0.2.7/32"]
  }

  assert {
    condition     = toset([for r in yandex_vpc_security_group_rule.rule : "${r.security_group_binding} ${r.direction} ${join(",", r.v4_cidr_blocks)}" if r.port == 9443]) == toset(["edge ingress 198.51.100.0/24,192.0.2.7/32"])
    error_message = "Readers must get to the edge's port 9443, from their networks and from nowhere else."
  }
  assert {
    condition     = toset([for l in yandex_lb_network_load_balancer.edge.listener : "${l.port} ${l.target_port}"]) == toset(["80 80", "443 443", "4317 4317", "9443 9443"])
    error_message = "The load balancer must pass readers on."
  }
}

run "several_edges" {
  command = plan
  variables {
    edge_zones   = ["ru-central1-a", "ru-central1-b"]
    broker_zones = ["ru-central1-a", "ru-central1-b", "ru-central1-d"]
    client_cidrs = ["192.0.2.0/24"]
  }

  assert {
    condition     = toset([for name, m in yandex_compute_instance.machine : name if m.network_interface[0].nat]) == toset(["jump", "edge-1", "edge-2"])
    error_message = "Exactly the jump host and the edges have public addresses."
  }
  assert {
    condition     = toset([for l in yandex_lb_network_load_balancer.edge.listener : l.port]) == toset([80, 443, 4317])
    error_message = "The balancer listens on 80, 443 and 4317."
  }
  assert {
    condition     = alltrue([for l in yandex_lb_network_load_balancer.edge.listener : one(l.external_address_spec).address == "203.0.113.2" && l.target_port == l.port])
    error_message = "The balancer must have the static service address and keep the port."
  }
  assert {
    condition     = toset([for t in yandex_lb_target_group.edge.target : t.address]) == toset([for m in yandex_compute_instance.machine : m.network_interface[0].ip_address if m.labels.role == "edge"])
    error_message = "The balancer's targets are the edges, all of them and nothing else."
  }
  assert {
    condition     = one([for r in yandex_vpc_security_group_rule.rule : "${r.security_group_binding} ${r.direction} ${r.port}" if r.predefined_target == "loadbalancer_healthchecks"]) == "edge ingress 80"
    error_message = "The balancer's health checks must get through to the edge's port 80, and nowhere else."
  }
  assert {
    condition     = alltrue([for r in yandex_vpc_security_group_rule.rule : r.v4_cidr_blocks == tolist(["192.0.2.0/24"]) if r.direction == "ingress" && r.security_group_binding == "edge" && r.security_group_id == "" && r.predefined_target == ""])
    error_message = "client_cidrs must narrow the edge."
  }
  assert {
    condition     = alltrue([for s in yandex_vpc_subnet.private : s.route_table_id == yandex_vpc_route_table.private.id]) && length(yandex_vpc_subnet.private) == 3
    error_message = "The private subnet of each zone must use the route through the NAT instance."
  }
  assert {
    condition     = length(distinct(concat([for s in yandex_vpc_subnet.private : s.v4_cidr_blocks[0]], [for s in yandex_vpc_subnet.public : s.v4_cidr_blocks[0]]))) == 6
    error_message = "Two subnets share a range."
  }
}
