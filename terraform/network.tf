# One network. Each zone in use has a public subnet, whose machines have public
# addresses of their own (jump host, edges), and a private one (all others),
# whose only way out is the NAT instance. The jump host is the NAT instance.

locals {
  # A zone's number is fixed: adding a zone later must not renumber the others.
  zone_numbers = {
    ru-central1-a = 0
    ru-central1-b = 1
    ru-central1-d = 2
  }

  zones         = toset(concat([var.zone], var.edge_zones, var.broker_zones, local.clickhouse_zones, local.keeper_zones))
  public_cidrs  = { for z in local.zones : z => cidrsubnet(var.network_cidr, 8, local.zone_numbers[z]) }
  private_cidrs = { for z in local.zones : z => cidrsubnet(var.network_cidr, 8, 128 + local.zone_numbers[z]) }

  # Computed, not read from the machine: the private subnets need the route,
  # and the jump host's security group needs to know the private subnets.
  jump_address = cidrhost(local.public_cidrs[var.zone], 10)

  labels = {
    project = var.name
  }

  # Of what the cloud lets be protected: addresses, load balancer, key. See
  # teardown_override.tf.example.
  deletion_protection = true
}

resource "yandex_vpc_network" "main" {
  name   = var.name
  labels = local.labels
}

resource "yandex_vpc_subnet" "public" {
  for_each = local.zones

  name           = "${var.name}-public-${each.key}"
  labels         = local.labels
  network_id     = yandex_vpc_network.main.id
  zone           = each.key
  v4_cidr_blocks = [local.public_cidrs[each.key]]
}

resource "yandex_vpc_subnet" "private" {
  for_each = local.zones

  name           = "${var.name}-private-${each.key}"
  labels         = local.labels
  network_id     = yandex_vpc_network.main.id
  zone           = each.key
  v4_cidr_blocks = [local.private_cidrs[each.key]]
  route_table_id = yandex_vpc_route_table.private.id
}

resource "yandex_vpc_route_table" "private" {
  name       = "${var.name}-through-jump"
  labels     = local.labels
  network_id = yandex_vpc_network.main.id

  static_route {
    destination_prefix = "0.0.0.0/0"
    next_hop_address   = local.jump_address
  }
}

# Two static addresses, however many machines: people and clients know these.
# The service's is the load balancer's, never a machine's: an address that a
# machine has had stays with it when it is no longer asked for, and two cannot
# have it.
resource "yandex_vpc_address" "jump" {
  name                = "${var.name}-jump"
  labels              = local.labels
  deletion_protection = local.deletion_protection

  external_ipv4_address {
    zone_id = var.zone
  }
}

resource "yandex_vpc_address" "service" {
  name                = "${var.name}-service"
  labels              = local.labels
  deletion_protection = local.deletion_protection

  external_ipv4_address {
    zone_id = var.edge_zones[0]
  }
}
