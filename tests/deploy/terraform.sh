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
  mkdir -p "$scratch/copy/tests"
  cp "$source_dir"/*.tf "$source_dir"/*.example "$scratch/copy/"
  cp "$source_dir"/tests/*.tftest.hcl "$scratch/copy/tests/"
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
    -var 'broker={disk=128}' >"$log" 2>&1 &&
    says ' 0 to destroy' "$log" && ! says 'must be replaced' "$log"
  report $? 'a further broker and larger disks replace nothing' "$log"

  tf_kept plan -var-file=prod.tfvars \
    -var 'edge_zones=["ru-central1-a","ru-central1-b"]' >"$log" 2>&1 &&
    says ' 0 to destroy' "$log" && ! says 'must be replaced' "$log"
  report $? 'a second edge and its load balancer replace nothing' "$log"

  ! tf_kept plan -var-file=prod.tfvars \
    -var 'broker_zones=["ru-central1-a"]' >"$log" 2>&1 &&
    says 'lifecycle.prevent_destroy' "$log"
  report $? 'a spool disk is not destroyed by removing its broker' "$log"

  ! tf_kept destroy -var-file=prod.tfvars >"$log" 2>&1 &&
    says 'lifecycle.prevent_destroy' "$log"
  report $? 'destroy refuses to delete the disks' "$log"

  cp "$scratch/copy/teardown_override.tf.example" \
    "$scratch/copy/teardown_override.tf"
  check 'destroy deletes them with teardown_override.tf' \
    tf_kept destroy -var-file=prod.tfvars
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
    ! tf test -filter="tests/$3.tftest.hcl" >"$log" 2>&1 && says "$4" "$log"
  fi
  report $? "noticed: $4" "$log"
}

mutants() {
  local i=isolation m=machines

  mutant outputs.tf 's/^  counts = /  counts   = /' fmt 'unformatted file'

  mutant machines.tf 's/( nat +=).*/\1 true/' $i 'Exactly the jump host and the edge have public addresses.'
  mutant machines.tf 's/(edge-1 = )local.balanced.*/\1null/' $i 'Jump host and edge must have their static addresses.'
  mutant machines.tf 's/public_roles = .*/public_roles = toset(["jump", "edge", "clickhouse"])/' $i 'Exactly the jump host and the edge have public addresses.'
  mutant machines.tf 's/( subnet_id +=).*/\1 yandex_vpc_subnet.public[each.value.zone].id/' $i 'Brokers and ClickHouse belong into the private subnet'
  mutant machines.tf 's/"nat-instance-ubuntu-2204"/"debian-12"/' $i 'The jump host must be made from an image that forwards.'
  mutant machines.tf 's/(security_group_ids = ).*/\1[for g in yandex_vpc_security_group.role : g.id]/' $i 'Each machine is in the group of its role and in no other.'
  mutant machines.tf 's/(service_account_id = ).*/\1yandex_iam_service_account.ci.id/' $i 'A machine has another account than the one that may only pull'
  mutant machines.tf 's/(aws_v1_http_token +=) 2/\1 1/' $i 'The token must not be served without the Google header.'
  mutant machines.tf 's/(ssh_pwauth +=) false/\1 true/' $i 'A machine lets root or passwords in.'

  mutant security.tf 's/"TCP", 8123, "broker"/"TCP", 8123, "edge"/' $i 'ClickHouse may be reached only by brokers'
  mutant security.tf 's/"clickhouse", "ingress", "TCP", 22, "jump"/"clickhouse", "ingress", "TCP", 22, "private"/' $i 'SSH may come only from the admins to the jump host'
  mutant security.tf 's/"broker", "ingress", "TCP", 8080, "edge"/"broker", "ingress", "TCP", 8080, "internet"/' $i 'Only the edge may be reached from everywhere.'
  mutant security.tf 's/"jump", "ingress", "TCP", 80, "private"/"jump", "ingress", "TCP", 22, "private"/' $i 'SSH may come only from the admins to the jump host'
  mutant security.tf '/"broker", "egress", "TCP", 8123/d' $i 'The rules differ from the agreed table.'
  mutant security.tf 's/^  port( +)= .*/  from_port\1= 0\n  to_port\1= 65535/' $i 'A rule opens a range of ports'
  mutant security.tf '/"balancer"\]\]/s/80/443/' $i "The balancer's health checks must get through"
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

  mutant disks.tf 's/ if m\.role == "broker"/ if m.role == "none"/' $m 'Each broker has a spool disk'
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
  check 'tests of isolation, machines and variables' tf test
  if [ -n "$runner" ]; then
    life
  else
    echo "skip  apply, growth and destroy: TERRAFORM_OFFLINE is not set"
  fi
fi

echo "terraform: $passed passed, $failed failed"
[ "$failed" = 0 ]
