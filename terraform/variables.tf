# Two variables have no default: who may log in, and from where.

variable "admin_cidrs" {
  description = "Networks from which SSH to the jump host is allowed: the operators' and the CI runner's."
  type        = list(string)

  validation {
    condition = length(var.admin_cidrs) > 0 && alltrue([
      for c in var.admin_cidrs :
      can(cidrnetmask(c)) && try(tonumber(split("/", c)[1]) >= 8, false)
    ])
    error_message = "admin_cidrs: name at least one IPv4 network such as 198.51.100.7/32, none of them wider than /8."
  }
}

variable "ssh_public_keys" {
  description = "Public keys of those who may log in as ssh_user, one per person or machine."
  type        = list(string)

  validation {
    condition = length(var.ssh_public_keys) > 0 && alltrue([
      for k in var.ssh_public_keys :
      can(regex("^(sk-)?(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521))(@openssh\\.com)? AAAA[0-9A-Za-z+/=]+( [^\\n]*)?$", k))
    ])
    error_message = "ssh_public_keys: each entry is one line of a *.pub file, for example \"ssh-ed25519 AAAA... name\"; never a private key."
  }
}

variable "name" {
  description = "Prefix of every name in the folder; two installations in one folder need two."
  type        = string
  default     = "logbroker"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "name: 3 to 32 lower-case letters, digits and hyphens, the first a letter, the last no hyphen."
  }
}

variable "ssh_user" {
  description = "The user cloud-init creates on every machine; Ansible logs in as it."
  type        = string
  default     = "ops"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.ssh_user)) && !contains(["root", "admin", "logbroker", "clickhouse"], var.ssh_user)
    error_message = "ssh_user: a plain lower-case user name, and not root, admin, logbroker or clickhouse."
  }
}

variable "client_cidrs" {
  description = "Networks from which the edge accepts HTTP and HTTPS."
  type        = list(string)
  default     = ["0.0.0.0/0"]

  validation {
    condition     = length(var.client_cidrs) > 0 && alltrue([for c in var.client_cidrs : can(cidrnetmask(c))])
    error_message = "client_cidrs: IPv4 networks in CIDR form, for example [\"0.0.0.0/0\"]."
  }
}

variable "reader_cidrs" {
  description = "Networks from which the edge accepts readers with a certificate, on port 9443 (docs/explore.md); none by default."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for c in var.reader_cidrs : can(cidrnetmask(c))])
    error_message = "reader_cidrs: IPv4 networks in CIDR form, for example [\"198.51.100.0/24\"]."
  }
}

variable "network_cidr" {
  description = "Address range of the network: the lower half holds the public subnets, the upper half the private ones."
  type        = string
  default     = "10.10.0.0/16"

  validation {
    condition     = can(regex("^(10\\.[0-9]+|192\\.168)\\.0\\.0/16$", var.network_cidr)) && can(cidrnetmask(var.network_cidr))
    error_message = "network_cidr: 10.N.0.0/16 or 192.168.0.0/16; 172.16.0.0/12 is left to Docker's own networks."
  }
}

variable "zone" {
  description = "Zone of the jump host, of monitoring, and of a single ClickHouse."
  type        = string
  default     = "ru-central1-a"

  validation {
    condition     = contains(["ru-central1-a", "ru-central1-b", "ru-central1-d"], var.zone)
    error_message = "zone: ru-central1-a, ru-central1-b or ru-central1-d."
  }
}

variable "edge_zones" {
  description = "One zone per edge. All of them stand behind a network load balancer, which has the service's address."
  type        = list(string)
  default     = ["ru-central1-a"]

  validation {
    condition = length(var.edge_zones) >= 1 && length(var.edge_zones) <= 16 && alltrue([
      for z in var.edge_zones : contains(["ru-central1-a", "ru-central1-b", "ru-central1-d"], z)
    ])
    error_message = "edge_zones: 1 to 16 entries, each ru-central1-a, ru-central1-b or ru-central1-d."
  }
}

variable "broker_zones" {
  description = "One zone per broker. Append to add brokers; the order decides the node index, so never reorder."
  type        = list(string)
  default     = ["ru-central1-a", "ru-central1-a"]

  validation {
    condition = length(var.broker_zones) >= 1 && length(var.broker_zones) <= 64 && alltrue([
      for z in var.broker_zones : contains(["ru-central1-a", "ru-central1-b", "ru-central1-d"], z)
    ])
    error_message = "broker_zones: 1 to 64 entries, each ru-central1-a, ru-central1-b or ru-central1-d."
  }
}

variable "clickhouse_zones" {
  description = "One zone per replica of ClickHouse; null is a single one in zone. From two on there are three machines with Keeper. Empty: ClickHouse is elsewhere, see clickhouse_urls."
  type        = list(string)
  default     = null

  validation {
    condition = var.clickhouse_zones == null ? true : length(var.clickhouse_zones) <= 3 && alltrue([
      for z in var.clickhouse_zones : contains(["ru-central1-a", "ru-central1-b", "ru-central1-d"], z)
    ])
    error_message = "clickhouse_zones: 1 to 3 entries, or none with clickhouse_urls, each ru-central1-a, ru-central1-b or ru-central1-d."
  }
}

variable "keeper_zones" {
  description = "Zones of the three machines with Keeper, which two or three replicas of ClickHouse need."
  type        = list(string)
  default     = ["ru-central1-a", "ru-central1-b", "ru-central1-d"]

  validation {
    condition = length(var.keeper_zones) == 3 && alltrue([
      for z in var.keeper_zones : contains(["ru-central1-a", "ru-central1-b", "ru-central1-d"], z)
    ])
    error_message = "keeper_zones: three entries, each ru-central1-a, ru-central1-b or ru-central1-d."
  }
}

variable "clickhouse_urls" {
  description = "With clickhouse_zones = []: where ClickHouse is, one URL per replica, for example [\"https://rc1a-example.mdb.yandexcloud.net:8443\"]."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for u in var.clickhouse_urls : can(regex("^https://[a-z0-9.-]+:[0-9]{2,5}$", u))])
    error_message = "clickhouse_urls: https://HOST:PORT, for example https://rc1a-example.mdb.yandexcloud.net:8443."
  }
  validation {
    condition     = (var.clickhouse_zones == null ? false : length(var.clickhouse_zones) == 0) == (length(var.clickhouse_urls) > 0)
    error_message = "clickhouse_urls: name them if clickhouse_zones is empty, and only then."
  }
}

variable "jump" {
  description = "Size of the jump host, which is the NAT instance too. Memory and disk in GB, core_fraction in percent."
  type = object({
    cores         = optional(number, 2)
    memory        = optional(number, 2)
    core_fraction = optional(number, 20)
    boot_disk     = optional(number, 10)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.jump.cores >= 2 && var.jump.memory >= 1 && contains([20, 50, 100], var.jump.core_fraction) && var.jump.boot_disk >= 10
    error_message = "jump: at least 2 cores, 1 GB of memory and a 10 GB boot disk; core_fraction is 20, 50 or 100."
  }
}

variable "edge" {
  description = "Size of each edge. Memory and disk in GB, core_fraction in percent."
  type = object({
    cores         = optional(number, 2)
    memory        = optional(number, 4)
    core_fraction = optional(number, 100)
    boot_disk     = optional(number, 20)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.edge.cores >= 2 && var.edge.memory >= 2 && contains([20, 50, 100], var.edge.core_fraction) && var.edge.boot_disk >= 15
    error_message = "edge: at least 2 cores, 2 GB of memory and a 15 GB boot disk; core_fraction is 20, 50 or 100."
  }
}

# The speed of a network-ssd grows with its size, in units of 32 GB: that, not
# only the backlog to be held, decides the size of a spool.
variable "broker" {
  description = "Size of each broker and of its spool disk. Memory and disks in GB, core_fraction in percent."
  type = object({
    cores         = optional(number, 2)
    memory        = optional(number, 4)
    core_fraction = optional(number, 100)
    boot_disk     = optional(number, 20)
    disk          = optional(number, 64)
    disk_type     = optional(string, "network-ssd")
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.broker.cores >= 2 && var.broker.memory >= 2 && contains([20, 50, 100], var.broker.core_fraction) && var.broker.boot_disk >= 15 && var.broker.disk >= 10
    error_message = "broker: at least 2 cores, 2 GB of memory, a 15 GB boot disk and a 10 GB spool disk; core_fraction is 20, 50 or 100."
  }

  # A non-replicated disk is lost with its rack, and with it events that were
  # acknowledged: no such choice.
  validation {
    condition     = contains(["network-hdd", "network-ssd", "network-ssd-io-m3"], var.broker.disk_type)
    error_message = "broker.disk_type: network-ssd, network-ssd-io-m3 or network-hdd; a non-replicated disk would lose acknowledged events with its rack."
  }
  validation {
    condition     = var.broker.disk_type != "network-ssd-io-m3" || var.broker.disk % 93 == 0
    error_message = "broker.disk: network-ssd-io-m3 comes in multiples of 93 GB."
  }
}

variable "clickhouse" {
  description = "Size of the ClickHouse machine and of its data disk. Memory and disks in GB, core_fraction in percent."
  type = object({
    cores         = optional(number, 4)
    memory        = optional(number, 16)
    core_fraction = optional(number, 100)
    boot_disk     = optional(number, 30)
    disk          = optional(number, 256)
    disk_type     = optional(string, "network-ssd")
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.clickhouse.cores >= 2 && var.clickhouse.memory >= 4 && contains([20, 50, 100], var.clickhouse.core_fraction) && var.clickhouse.boot_disk >= 15 && var.clickhouse.disk >= 20
    error_message = "clickhouse: at least 2 cores, 4 GB of memory, a 15 GB boot disk and a 20 GB data disk; core_fraction is 20, 50 or 100."
  }
  validation {
    condition     = contains(["network-hdd", "network-ssd", "network-ssd-io-m3"], var.clickhouse.disk_type)
    error_message = "clickhouse.disk_type: network-ssd, network-ssd-io-m3 or network-hdd; a non-replicated disk would lose delivered events with its rack."
  }
  validation {
    condition     = var.clickhouse.disk_type != "network-ssd-io-m3" || var.clickhouse.disk % 93 == 0
    error_message = "clickhouse.disk: network-ssd-io-m3 comes in multiples of 93 GB."
  }
}

variable "keeper" {
  description = "Size of each machine with Keeper and of its disk. Memory and disks in GB, core_fraction in percent."
  type = object({
    cores         = optional(number, 2)
    memory        = optional(number, 2)
    core_fraction = optional(number, 20)
    boot_disk     = optional(number, 15)
    disk          = optional(number, 10)
    disk_type     = optional(string, "network-ssd")
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.keeper.cores >= 2 && var.keeper.memory >= 1 && contains([20, 50, 100], var.keeper.core_fraction) && var.keeper.boot_disk >= 15 && var.keeper.disk >= 10
    error_message = "keeper: at least 2 cores, 1 GB of memory, a 15 GB boot disk and a 10 GB disk; core_fraction is 20, 50 or 100."
  }
  validation {
    condition     = contains(["network-hdd", "network-ssd"], var.keeper.disk_type)
    error_message = "keeper.disk_type: network-ssd or network-hdd."
  }
}

variable "monitoring" {
  description = "Size of a machine for Prometheus, Alertmanager and Grafana; null is none. Memory and disks in GB, core_fraction in percent."
  type = object({
    cores         = optional(number, 2)
    memory        = optional(number, 4)
    core_fraction = optional(number, 50)
    boot_disk     = optional(number, 15)
    disk          = optional(number, 32)
    disk_type     = optional(string, "network-ssd")
  })
  default = null

  validation {
    condition = var.monitoring == null ? true : (
      var.monitoring.cores >= 2 && var.monitoring.memory >= 2 && contains([20, 50, 100], var.monitoring.core_fraction) &&
    var.monitoring.boot_disk >= 15 && var.monitoring.disk >= 10 && contains(["network-hdd", "network-ssd"], var.monitoring.disk_type))
    error_message = "monitoring: at least 2 cores, 2 GB of memory, a 15 GB boot disk and a 10 GB disk of network-ssd or network-hdd; core_fraction is 20, 50 or 100."
  }
}

variable "encrypt_disks" {
  description = "Whether new disks with events are encrypted with a key of this installation's own (Key Management Service). Disks that exist stay as they are."
  type        = bool
  default     = false
}

variable "platform" {
  description = "Processor platform of every machine."
  type        = string
  default     = "standard-v3"

  validation {
    condition     = can(regex("^[a-z0-9-]+$", var.platform))
    error_message = "platform: a platform id such as standard-v3."
  }
}

variable "image_id" {
  description = "Image of edges, brokers and ClickHouse; null takes the newest Debian 12 when a machine is created."
  type        = string
  default     = null
}

variable "jump_image_id" {
  description = "Image of the jump host; null takes the newest NAT instance image when it is created."
  type        = string
  default     = null
}

variable "snapshots" {
  description = "Snapshots of the ClickHouse data disk: when (cron, UTC) and for how many days they are kept."
  type = object({
    cron = optional(string, "30 1 * * *")
    days = optional(number, 7)
  })
  default  = {}
  nullable = false

  validation {
    condition     = length(split(" ", var.snapshots.cron)) == 5 && var.snapshots.days >= 1 && floor(var.snapshots.days) == var.snapshots.days
    error_message = "snapshots: cron has five fields, for example \"30 1 * * *\"; days is a whole number, at least 1."
  }
}
