# Who may talk to whom, as one table. What is not in it is refused.
#
# A peer is a role (its machines, by security group), a network from
# local.networks, or "balancer" (the load balancer's health checks). Forwarded
# packets do not count as their sender's group, so what the NAT instance
# forwards is named by network; and it is named by port, so that a private
# machine cannot open SSH on the jump host. DNS and metadata are always allowed.

locals {
  roles    = toset(["jump", "edge", "broker", "clickhouse"])
  balanced = length(var.edge_zones) > 1

  networks = {
    admins   = var.admin_cidrs
    clients  = var.client_cidrs
    internet = ["0.0.0.0/0"]
    private  = [cidrsubnet(var.network_cidr, 1, 1)]
  }

  rules = concat(
    [
      # role, direction, protocol, port, peer
      ["jump", "ingress", "TCP", 22, "admins"],
      ["jump", "egress", "TCP", 22, "edge"],
      ["jump", "egress", "TCP", 22, "broker"],
      ["jump", "egress", "TCP", 22, "clickhouse"],

      ["edge", "ingress", "TCP", 80, "clients"],
      ["edge", "ingress", "TCP", 443, "clients"],
      ["edge", "ingress", "TCP", 4317, "clients"],
      ["edge", "ingress", "TCP", 22, "jump"],
      ["edge", "egress", "TCP", 8080, "broker"],
      ["edge", "egress", "TCP", 4317, "broker"],

      ["broker", "ingress", "TCP", 8080, "edge"],
      ["broker", "ingress", "TCP", 4317, "edge"],
      ["broker", "ingress", "TCP", 22, "jump"],
      ["broker", "egress", "TCP", 8123, "clickhouse"],

      ["clickhouse", "ingress", "TCP", 8123, "broker"],
      ["clickhouse", "ingress", "TCP", 22, "jump"],
    ],
    # With client_cidrs narrowed, the checks would not get through otherwise.
    [for rule in [["edge", "ingress", "TCP", 80, "balancer"]] : rule if local.balanced],

    # Packages, images and certificates (80, 443) and time (123): out from every
    # machine, and into the NAT instance on their way there.
    [for r in local.roles : [r, "egress", "TCP", 80, "internet"]],
    [for r in local.roles : [r, "egress", "TCP", 443, "internet"]],
    [for r in local.roles : [r, "egress", "UDP", 123, "internet"]],
    [
      ["jump", "ingress", "TCP", 80, "private"],
      ["jump", "ingress", "TCP", 443, "private"],
      ["jump", "ingress", "UDP", 123, "private"],
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
  port                   = each.value[3]
  v4_cidr_blocks         = lookup(local.networks, each.value[4], null)
  security_group_id      = contains(local.roles, each.value[4]) ? yandex_vpc_security_group.role[each.value[4]].id : null
  predefined_target      = each.value[4] == "balancer" ? "loadbalancer_healthchecks" : null
}

# The network's own default group would let SSH in from anywhere to a machine
# that someone adds without naming a group. Emptied, it lets nothing through.
resource "yandex_vpc_default_security_group" "empty" {
  network_id  = yandex_vpc_network.main.id
  description = "Lets nothing through: name a group of a role."
  labels      = local.labels
}
