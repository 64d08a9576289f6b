#!/usr/bin/env bash
# Checks terraform/: format, validity, the tests of isolation, and, where a
# provider can be run without a cloud, a whole life from apply to destroy.
#
#   tests/deploy/terraform.sh            all checks
#   tests/deploy/terraform.sh --break    break the configuration in many ways,
#                                        one at a time: each must be noticed
#
# TERRAFORM_OFFLINE may name a program that runs Terraform without network or
# credentials, as `$TERRAFORM_OFFLINE [-w WORK] DIR COMMAND ARGUMENT...`; with
# -w the state stays in WORK from one call to the next. Without it Terraform
# itself is used; its provider is then mocked, but has to be downloaded.
#
# Exit status: 0 all passed, 1 something failed, 77 nothing could be tried.

set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
source_dir=$(cd "$here/../../terraform" && pwd -P)
runner=${TERRAFORM_OFFLINE:-}
export TF_IN_AUTOMATION=1 TF_INPUT=0 NO_COLOR=1
passed=0 failed=0

skip() { echo "SKIP  terraform: $1"; exit 77; }

report() { # STATUS NAME [LOG]
  if [ "$1" = 0 ]; then
    passed=$((passed + 1))
    echo "ok    $2"
  else
    failed=$((failed + 1))
    echo "FAIL  $2"
    if [ -n "${3:-}" ]; then sed 's/^/      /' "$3"; fi
  fi
}

command -v terraform >/dev/null 2>&1 ||
  skip "no terraform in PATH (1.11 is needed: docs/deploy-terraform.md)"
if [ -n "$runner" ] && [ ! -x "$runner" ]; then
  echo "terraform.sh: TERRAFORM_OFFLINE=$runner is not a program" >&2
  exit 1
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/log

fresh_copy() { # the configuration alone, without anyone's settings or state
  rm -rf "$scratch/copy"
  mkdir -p "$scratch/copy/tests/changes"
  cp "$source_dir"/*.tf "$source_dir"/*.example "$scratch/copy/"
  cp "$source_dir"/tests/*.tftest.hcl "$scratch/copy/tests/"
  cp "$source_dir"/tests/changes/*.tftest.hcl "$scratch/copy/tests/changes/"
  if [ -f "$source_dir/.terraform.lock.hcl" ] && [ -z "$runner" ]; then
    cp "$source_dir/.terraform.lock.hcl" "$scratch/copy/"
  fi
  cp "$scratch/copy/prod.tfvars.example" "$scratch/copy/prod.tfvars"
}

tf() { # COMMAND ARGUMENT...; in the copy
  if [ -n "$runner" ]; then
    "$runner" "$scratch/copy" "$@"
  else
    (cd "$scratch/copy" && terraform "$@")
  fi
}

tf_kept() { # the same, with a state that stays
  "$runner" -w "$scratch/life" "$scratch/copy" "$@"
}

# What a reader of a log sees is wrapped and framed: compare words only.
says() { # WORDS LOG
  tr -s ' \n│' ' ' <"$2" | grep -qF -- "$1"
}

init() {
  [ -z "$runner" ] || return 0
  export TF_DATA_DIR=$scratch/data
  if ! (cd "$scratch/copy" && terraform init -backend=false) >"$log" 2>&1; then
    if grep -Eqi 'failed to (query|install|retrieve)|could not connect|no such host|registry service is unreachable' "$log"; then
      [ "$failed" = 0 ] || exit 1
      skip "the provider cannot be downloaded here; set TERRAFORM_OFFLINE or a provider mirror"
    fi
    report 1 'terraform init' "$log"
    exit 1
  fi
}

check() { # NAME COMMAND ARGUMENT...
  local name=$1
  shift
  "$@" >"$log" 2>&1
  report $? "$name" "$log"
}

# Tests that apply, and hence destroy at their end.
changes() {
  local status
  cp "$scratch/copy/teardown_override.tf.example" \
    "$scratch/copy/teardown_override.tf"
  tf test -test-directory=tests/changes
  status=$?
  rm "$scratch/copy/teardown_override.tf"
  return "$status"
}

life() { # everything between the first apply and the last destroy
  mkdir "$scratch/life"
  check 'apply creates everything' tf_kept apply -var-file=prod.tfvars
  check 'a second plan has nothing to do' \
    tf_kept plan -detailed-exitcode -var-file=prod.tfvars

  tf_kept output -json inventory >"$scratch/inventory.json" 2>"$log" &&
    tf_kept output -json ansible_inventory >"$scratch/ansible.json" 2>>"$log" &&
    python3 - "$scratch/inventory.json" "$scratch/ansible.json" >>"$log" 2>&1 <<'PY'
import json, sys
flat, grouped = (json.load(open(name)) for name in sys.argv[1:])
roles = {name: host["role"] for name, host in flat.items()}
assert roles == {"jump": "jump", "edge-1": "edge", "broker-1": "broker",
                 "broker-2": "broker", "clickhouse-1": "clickhouse"}, roles
public = {name for name, host in flat.items() if host["public_address"]}
assert public == {"jump", "edge-1"}, public
children = grouped["all"]["children"]
groups = dict(children["inside"]["children"], jump=children["jump"])
listed = {name: role for role, group in groups.items()
          for name in group["hosts"]}
assert listed == roles, listed
PY
  report $? 'the outputs are an inventory' "$log"

  tf_kept state pull >"$scratch/state.json" 2>"$log" &&
    python3 - "$scratch/state.json" >>"$log" 2>&1 <<'PY'
import json, re, sys
state = json.load(open(sys.argv[1]))
assert len(state["resources"]) > 20, len(state["resources"])
secret = re.compile("secret|password|private_key|(^|_)token|access_key")
def walk(value, name, path):
    if isinstance(value, dict):
        for k, v in value.items():
            walk(v, k, f"{path}.{k}")
    elif isinstance(value, list):
        for i, v in enumerate(value):
            walk(v, name, f"{path}[{i}]")
    elif isinstance(value, str) and value:
        assert not secret.search(name), path
        assert "PRIVATE KEY" not in value, path
for r in state["resources"]:
    walk(r["instances"], "", f"{r['type']}.{r['name']}")
walk(state["outputs"], "", "outputs")
PY
  report $? 'neither state nor outputs hold a secret' "$log"

  if command -v ansible-inventory >/dev/null 2>&1; then
    ansible-inventory -i "$scratch/ansible.json" --host broker-2 >"$log" 2>&1 &&
      grep -q '"logbroker_node_index": 1' "$log" && grep -q 'ProxyJump=ops@' "$log"
    report $? 'Ansible reads the inventory' "$log"
  fi

  tf_kept plan -var-file=prod.tfvars \
    -var 'broker_zones=["ru-central1-a","ru-central1-a","ru-central1-b"]' \
    -var 'broker={boot_disk=15,memory=2,disk=128}' >"$log" 2>&1 &&
    says ' 0 to destroy' "$log" && ! says 'must be replaced' "$log"
  report $? 'a further broker and larger disks replace nothing' "$log"

  # What the plan lacks at first it has when an edge has really come and gone.
  tf_kept output -raw service_address >"$scratch/address" 2>"$log" &&
    tf_kept apply -var-file=prod.tfvars \
      -var 'edge_zones=["ru-central1-a","ru-central1-a"]' >"$log" 2>&1 &&
    says ' 0 destroyed' "$log" && addresses "$scratch/address" 2
  report $? 'a second edge replaces nothing, and no two things have one address' "$log"

  tf_kept apply -var-file=prod.tfvars >"$log" 2>&1 &&
    says ' 1 destroyed' "$log" && addresses "$scratch/address" 1
  report $? 'when it goes only its machine does' "$log"

  tf_kept plan -var-file=prod.tfvars -var 'monitoring={}' \
    -var 'clickhouse_zones=["ru-central1-a","ru-central1-b"]' >"$log" 2>&1 &&
    says ' 0 to destroy' "$log" && ! says 'must be replaced' "$log"
  report $? 'a second replica, Keeper and monitoring replace nothing' "$log"

  tf_kept plan -var-file=prod.tfvars -var 'encrypt_disks=true' >"$log" 2>&1 &&
    says ' 1 to add, 0 to change, 0 to destroy.' "$log"
  report $? 'encryption leaves the disks that are there alone' "$log"

  ! tf_kept plan -var-file=prod.tfvars \
    -var 'broker_zones=["ru-central1-a"]' >"$log" 2>&1 &&
    says 'lifecycle.prevent_destroy' "$log"
  report $? 'a spool disk is not destroyed by removing its broker' "$log"

  ! tf_kept destroy -var-file=prod.tfvars >"$log" 2>&1 &&
    says 'lifecycle.prevent_destroy' "$log"
  report $? 'destroy refuses to delete the disks' "$log"

  cp "$scratch/copy/teardown_override.tf.example" \
    "$scratch/copy/teardown_override.tf"
  # what the cloud protects has to be told first
  tf_kept apply -var-file=prod.tfvars >"$log" 2>&1 &&
    says '0 added, 3 changed, 0 destroyed' "$log" &&
    tf_kept destroy -var-file=prod.tfvars >"$log" 2>&1
  report $? 'destroy deletes them, once teardown_override.tf is applied' "$log"
}

addresses() { # FILE COUNT; the balancer has FILE's address for COUNT edges
  tf_kept state pull >"$scratch/state.json" 2>>"$log" &&
    python3 - "$scratch/state.json" "$(cat "$1")" "$2" >>"$log" 2>&1 <<'PY'
import json, sys
state = json.load(open(sys.argv[1]))
service, count = sys.argv[2], int(sys.argv[3])
held, targets = [], []
for r in state["resources"]:
    for i in r["instances"]:
        a = i["attributes"]
        if r["type"] == "yandex_compute_instance":
            nic = a["network_interface"][0]
            if nic["nat"]:
                held.append((nic["nat_ip_address"], a["hostname"]))
        if r["type"] == "yandex_lb_target_group":
            targets = a["target"]
        if r["type"] == "yandex_lb_network_load_balancer":
            listeners = {s["address"] for l in a["listener"] for s in l["external_address_spec"]}
assert listeners == {service}, (listeners, service)
assert service not in dict(held), held
assert len(dict(held)) == len(held) == count + 1, held
assert len(targets) == count, targets
PY
}

# docs/deploy-terraform.md says what fits into a new cloud: the same as a plan.
quotas() {
  local name
  printf '%s\n' "$(grep -A1 '^admin_cidrs\|^ssh_public_keys' "$scratch/copy/prod.tfvars" | grep -v '^--')" \
    ']' >"$scratch/copy/defaults.tfvars"
  mkdir -p "$scratch/quotas"
  for name in prod defaults; do
    "$runner" -w "$scratch/quotas" "$scratch/copy" plan \
      -var-file=$name.tfvars -out=$name.tfplan >"$log" 2>&1 &&
      "$runner" -w "$scratch/quotas" "$scratch/copy" show -json $name.tfplan \
        >"$scratch/$name.json" 2>>"$log" || return 1
  done
  python3 "$here/quotas.py" "$source_dir/../docs/deploy-terraform.md" \
    "$source_dir/../docs/deploy.md" "$scratch/prod.json" "$scratch/defaults.json" >"$log" 2>&1
}

mutant() { # FILE SED-EXPRESSION TESTS WORDS
  fresh_copy
  sed -Ei "$2" "$scratch/copy/$1"
  if cmp -s "$source_dir/$1" "$scratch/copy/$1"; then
    echo "the expression changed nothing" >"$log"
    report 1 "$1: $2" "$log"
    return
  fi
  if [ "$3" = fmt ]; then
    ! terraform fmt -check -recursive "$scratch/copy" >"$log" 2>/dev/null
  else
    case $3 in
    changes) ! changes >"$log" 2>&1 ;;
    *) ! tf test -filter="tests/$3.tftest.hcl" >"$log" 2>&1 ;;
    esac && says "$4" "$log"
  fi
  report $? "noticed: $4" "$log"
}

mutants() {
  local i=isolation m=machines

  mutant outputs.tf 's/^  counts = /  counts   = /' fmt 'unformatted file'

  mutant machines.tf 's/( nat +=).*/\1 true/' $i 'Exactly the jump host and the edge have public addresses.'
  mutant machines.tf 's/(nat_ip_address +=).*/\1 null/' $i 'The jump host must have its static address.'
  mutant machines.tf 's/(nat_ip_address +=).*/\1 each.key == "edge-1" \&\& length(var.edge_zones) == 1 ? yandex_vpc_address.service.external_ipv4_address[0].address : null/' $i "An edge still has the service's address"
  mutant balancer.tf 's/(condition +=).*/\1 true || yandex_vpc_address.service.id != ""/' changes 'Missing expected failure'
  mutant balancer.tf 's/(address +=) yandex_vpc_address\.service/\1 yandex_vpc_address.jump/' changes "The service's address is not the load balancer's."
  mutant network.tf 's/(deletion_protection = )true/\1false/' $m 'An address, the load balancer or the key can be deleted by mistake.'
  mutant machines.tf 's/public_roles = .*/public_roles = toset(["jump", "edge", "clickhouse"])/' $i 'Exactly the jump host and the edge have public addresses.'
  mutant machines.tf 's/( subnet_id +=).*/\1 yandex_vpc_subnet.public[each.value.zone].id/' $i 'Brokers and ClickHouse belong into the private subnet'
  mutant machines.tf 's/"nat-instance-ubuntu-2204"/"debian-12"/' $i 'The jump host must be made from an image that forwards.'
  mutant machines.tf 's/(security_group_ids = ).*/\1[for g in yandex_vpc_security_group.role : g.id]/' $i 'Each machine is in the group of its role and in no other.'
  mutant machines.tf 's/(service_account_id = ).*/\1yandex_iam_service_account.ci.id/' $i 'A machine has another account than the one that may only pull'
  mutant machines.tf 's/(aws_v1_http_token +=) 2/\1 1/' $i 'The token must not be served without the Google header.'
  mutant machines.tf 's/(ssh_pwauth +=) false/\1 true/' $i 'A machine lets root or passwords in.'

  mutant security.tf 's/"broker clickhouse 8123"/"edge clickhouse 8123"/' $i 'ClickHouse may be reached only by brokers'
  mutant security.tf 's/"edge", "ingress", "TCP", "443", "clients"/"broker", "ingress", "TCP", "22", "private"/' $i 'SSH may come only from the admins to the jump host'
  mutant security.tf 's/"jump", "ingress", "TCP", "443", "private"/"broker", "ingress", "TCP", "8080", "internet"/' $i 'Only the edge may be reached from everywhere.'
  mutant security.tf 's/"jump", "ingress", "TCP", "80", "private"/"jump", "ingress", "TCP", "22", "private"/' $i 'SSH may come only from the admins to the jump host'
  mutant security.tf '/"edge broker 4317"/d' $i 'The rules differ from the agreed table.'
  mutant security.tf 's/^  port( +)= .*/  from_port\1= 0\n  to_port\1= 65535/' $i 'A rule opens a range of ports'
  mutant security.tf '/"balancer"\]/s/80/443/' $i "The balancer's health checks must get through"
  mutant security.tf 's/(\[f\[1\], "ingress", "TCP", f\[2\], f\[0\]\] for f in local\.between)/\1/; s/for f in local\.between : \[f\[1\]/for f in local.between : f[2] == "9181" ? [f[1], "ingress", "TCP", "9182", f[0]] : [f[1]/' $i 'A machine may send what the other one does not take'
  mutant security.tf 's/"keeper keeper 9234"/"keeper clickhouse 9234"/' $i 'Replicas, Keeper and monitoring open other ports than agreed.'
  mutant security.tf 's/port, "network"\]/port, "internet"]/' $i 'Brokers must reach the ClickHouse that was named'
  mutant machines.tf 's/(clickhouse_zones = ).*/\1length(coalesce(var.clickhouse_zones, [])) == 0 ? [var.zone] : var.clickhouse_zones/' $i 'With ClickHouse elsewhere there must be no machine for it.'
  mutant machines.tf 's/length\(local\.clickhouse_zones\) > 1/false/' $m 'Two replicas need two machines, three of Keeper'
  mutant machines.tf 's/13 \+ i/10 + i/' $m 'Two machines share an address.'
  mutant outputs.tf 's/(clickhouse_urls = )length.*/\1[for h in ["clickhouse-1"] : "http:\/\/${local.inventory[h].address}:8123"]/' $m 'The flushers must be told of both replicas.'
  mutant disks.tf 's/(kms_key_id = ).*/\1null/' $m 'A disk with events is not encrypted with the key.'
  mutant security.tf 's/"9443", "readers"/"9443", "internet"/' $i "Readers must get to the edge's port 9443"
  mutant balancer.tf 's/readers = 9443/readers = 9145/' $i 'The load balancer must pass readers on.'
  mutant security.tf 's/clients +=.*/clients = ["0.0.0.0\/0"]/' $i 'client_cidrs must narrow the edge.'
  mutant security.tf '/"yandex_vpc_security_group" "role"/a ingress {\nprotocol = "ANY"\nv4_cidr_blocks = ["0.0.0.0/0"]\n}' $i 'Inline rules beside rule resources undo each other.'
  mutant security.tf '/"yandex_vpc_default_security_group"/a ingress {\nprotocol = "ANY"\nv4_cidr_blocks = ["0.0.0.0/0"]\n}' $i 'The default group must let nothing through.'

  mutant network.tf 's/(next_hop_address +=).*/\1 cidrhost(local.public_cidrs[var.zone], 11)/' $i "The private subnets' only route must lead to the NAT instance."
  mutant network.tf '/route_table_id =/d' $i 'A private subnet does not use the route through the NAT instance.'
  mutant network.tf '/"yandex_vpc_subnet" "public"/a route_table_id = yandex_vpc_route_table.private.id' $i 'A public subnet must have no route table.'
  mutant network.tf 's/ 128 \+ / /' $i 'Two subnets share a range.'

  mutant registry.tf 's/\.puller"/.pusher"/' $i "The machines' account may pull images"
  mutant registry.tf 's/(members += .*)account\.ci/\1account.machine/' $i 'The account of CI may push images'

  mutant balancer.tf 's/m\.role == "edge"/m.role != "jump"/' $i "The balancer's targets are the edges"
  mutant balancer.tf 's/(target_port +=).*/\1 80/' $i 'The balancer must have the static service address'
  mutant balancer.tf 's/, https = 443//' $i 'The balancer listens on 80, 443 and 4317.'

  mutant disks.tf 's/contains\(keys\(local\.devices\), m\.role\)/m.role == "clickhouse"/' $m 'Each broker has a spool disk'
  mutant machines.tf 's/(auto_delete =) false/\1 true/' $m 'Each disk is attached to its machine'
  mutant disks.tf 's/ if local\.disks\[name\]\.device == "data"//' $m 'Snapshots are taken of the ClickHouse disk'
  mutant disks.tf 's/days \* 24/days/' $m 'Snapshots are kept for seven days'
  mutant outputs.tf 's/(node_index +=) m\.index/\1 0/' $m 'The inventory differs from what Ansible expects.'
  mutant outputs.tf 's/(ansible_ssh_common_args = ).*/\1""/' $m 'Ansible must go through the jump host.'
  mutant outputs.tf 's/: m\.address$/: m.fqdn/' $m 'Machines behind the jump host are reached by their private addresses'
  mutant outputs.tf '/output "service_address"/,/^}/s/address\.service/address.jump/' $m 'Wrong service address or registry.'
  mutant outputs.tf 's/(memory_gb = sum.*)m\.size\.memory/\1m.size.cores/' $m 'The quantities to be paid are wrong.'
  mutant network.tf 's/ru-central1-b = 1/ru-central1-b = 3/' $m "A machine's address depends on something else"
  mutant machines.tf 's/ : local\.image_id/ : local.jump_image_id/' $m 'A machine does not use the image named for it.'
  mutant machines.tf 's/var\.image_id == null \? 1 : 0/1/' $m 'A named image must not be looked up.'

  mutant variables.tf 's/ >= 8, false/ >= 0, false/' $m 'var.admin_cidrs'
  mutant variables.tf 's/"root", //' $m 'var.ssh_user'
  mutant variables.tf 's/"network-hdd", /"network-ssd-nonreplicated", /' $m 'var.broker'
  mutant variables.tf 's/\^https:/^https?:/' $m 'var.clickhouse_urls'
}

fresh_copy
if [ "${1:-}" = --break ]; then
  init
  mutants
elif [ $# -gt 0 ]; then
  sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
else
  check 'terraform fmt -check' terraform fmt -check -diff -recursive "$source_dir"
  init
  check 'validate' tf validate
  TF_CLI_CONFIG_FILE=$source_dir/mirror.terraformrc terraform version >"$log" 2>&1 &&
    ! says 'problems with the CLI configuration' "$log"
  report $? 'the settings for a provider mirror' "$log"
  check 'tests of isolation, machines and variables' tf test
  check 'tests of changes' changes
  if [ -n "$runner" ]; then
    quotas
    report $? 'quotas and costs in docs/ are those of the plans' "$log"
    life
  else
    echo "skip  apply, growth, destroy and quotas: TERRAFORM_OFFLINE is not set"
  fi
fi

echo "terraform: $passed passed, $failed failed"
[ "$failed" = 0 ]
