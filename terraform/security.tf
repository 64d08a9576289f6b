# Who may talk to whom, as two tables. What is not in them is refused.
#
# A peer is a role (its machines, by security group), a network from
# local.networks, or "balancer" (the load balancer's health checks). Forwarded
# packets do not count as their sender's group, so what the NAT instance
# forwards is named by network; and it is named by port, so that a private
# machine cannot open SSH on the jump host. DNS and metadata are always allowed.

locals {
  roles = toset([for m in local.machines : m.role])

  networks = {
    admins   = var.admin_cidrs
    clients  = var.client_cidrs
    readers  = var.reader_cidrs
    internet = ["0.0.0.0/0"]
    network  = [var.network_cidr]
    private  = [cidrsubnet(var.network_cidr, 1, 1)]
  }

  # Between machines: from, to, port. A role that has no machines has no rules.
  flows = concat(
    [for r in setsubtract(local.roles, ["jump"]) : "jump ${r} 22"],
    [
      "edge broker 8080",
      "edge broker 4317",
      # the same by TLS, once Ansible has switched it on
      "edge broker 8443",
      "edge broker 4318",
      "broker clickhouse 8123",
    ],
    # Replicas: rows and parts from one another, and what Keeper knows.
    length(local.clickhouse_zones) < 2 ? [] : [
      "clickhouse clickhouse 9000",
      "clickhouse clickhouse 9009",
      "clickhouse keeper 9181",
      "keeper keeper 9234",
      "monitoring keeper 9182",
    ],
    # Figures of machines, brokers, edges and ClickHouse (and its rows, for
    # Grafana), and the service as clients see it. What monitoring shows is seen
    # through the jump host.
    [for r in setsubtract(local.roles, ["monitoring"]) : "monitoring ${r} 9100"],
    [
      "monitoring broker 8080",
      "monitoring edge 9145",
      "monitoring edge 80",
      "monitoring edge 443",
      "monitoring clickhouse 8123",
      "jump monitoring 3000",
      "jump monitoring 9090",
      "jump monitoring 9093",
      # those who read ask through the jump host: docs/queries.md
      "jump clickhouse 8123",
    ],
  )

  between = [
    for f in [for f in local.flows : split(" ", f)] : f
    if contains(local.roles, f[0]) && contains(local.roles, f[1])
  ]

  rules = concat(
    [for f in local.between : [f[0], "egress", "TCP", f[2], f[1]]],
    [for f in local.between : [f[1], "ingress", "TCP", f[2], f[0]]],

    [
      # role, direction, protocol, port, peer
      ["jump", "ingress", "TCP", "22", "admins"],

      ["edge", "ingress", "TCP", "80", "clients"],
      ["edge", "ingress", "TCP", "443", "clients"],
      ["edge", "ingress", "TCP", "4317", "clients"],
      # With client_cidrs narrowed, the checks would not get through otherwise.
      ["edge", "ingress", "TCP", "80", "balancer"],
    ],
    length(var.reader_cidrs) == 0 ? [] : [["edge", "ingress", "TCP", "9443", "readers"]],
    # A ClickHouse that is not of this installation has to be in its network.
    [for port in distinct([for u in var.clickhouse_urls : regex("[0-9]+$", u)]) : ["broker", "egress", "TCP", port, "network"]],

    # Packages, images and certificates (80, 443) and time (123): out from every
    # machine, and into the NAT instance on their way there.
    [for r in local.roles : [r, "egress", "TCP", "80", "internet"]],
    [for r in local.roles : [r, "egress", "TCP", "443", "internet"]],
    [for r in local.roles : [r, "egress", "UDP", "123", "internet"]],
    [
      ["jump", "ingress", "TCP", "80", "private"],
      ["jump", "ingress", "TCP", "443", "private"],
      ["jump", "ingress", "UDP", "123", "private"],
    ],
  )
}

resource "yandex_vpc_security_group" "role" {
  for_each = local.roles

  name       = "${var.name}-${each.key}"
  labels     = local.labels
  network_id = yandex_vpc_network.main.id
}

resource "yandex_vpc_security_group_rule" "rule" {
  for_each = { for r in local.rules : join(" ", r) => r }

  security_group_binding = yandex_vpc_security_group.role[each.value[0]].id
  description            = each.key
  direction              = each.value[1]
  protocol               = each.value[2]
  port                   = tonumber(each.value[3])
  v4_cidr_blocks         = lookup(local.networks, each.value[4], null)
  security_group_id      = contains(local.roles, each.value[4]) && each.value[4] != each.value[0] ? yandex_vpc_security_group.role[each.value[4]].id : null
  predefined_target      = each.value[4] == "balancer" ? "loadbalancer_healthchecks" : each.value[4] == each.value[0] ? "self_security_group" : null
}

# The network's own default group would let SSH in from anywhere to a machine
# that someone adds without naming a group. Emptied, it lets nothing through.
resource "yandex_vpc_default_security_group" "empty" {
  network_id  = yandex_vpc_network.main.id
  description = "Lets nothing through: name a group of a role."
  labels      = local.labels
}
