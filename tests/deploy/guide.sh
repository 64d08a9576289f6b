#!/usr/bin/env bash
# Runs the commands of docs/deploy.md, "By hand", as they stand, in one session
# from an empty folder to the first events. What would reach a cloud is played:
# yc, docker, ssh and curl by what is below, Terraform by TERRAFORM_OFFLINE (see
# terraform.sh) or, without it, by the outputs it would have. Ansible is itself,
# short of reaching machines. Events really go to a broker and ClickHouse on this
# machine (guide_service.py), and are really asked for there.
#
# Exit status: 0 passed, 1 failed, 77 could not be tried here.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
for tool in git jq openssl ansible-playbook; do
    command -v $tool >/dev/null || {
        echo "SKIP  guide: no $tool"
        exit 77
    }
done
python=/usr/bin/python3
build=$root/${LB_BUILD:-build}
[ -e "$build/tools/logbroker-spool" ] || {
    echo "SKIP  guide: nothing is built"
    exit 77
}
work=$(mktemp -d)
service=
trap '[ -z "$service" ] || { kill "$service" && wait "$service"; } 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/home/.ssh"
echo "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITest you@example" >"$work/home/.ssh/id_ed25519.pub"

# the repository as it is, without anyone's settings
git clone -q "$root" "$work/repository"
git -C "$root" diff HEAD | git -C "$work/repository" apply --allow-empty --whitespace=nowarn

# play NAME: the program NAME in the session, from standard input
play() {
    { printf '%s\n' '#!/usr/bin/env bash' 'echo "$(basename "$0") $*" >>"$WORK/calls"' && cat; } >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}

play yc <<'EOT'
case "$*" in
"config get cloud-id") echo b1cloud ;;
"config get folder-id") echo b1folder ;;
"iam service-account get "*) echo '{"id": "aje1"}' ;;
"iam access-key create --service-account-id aje1 "*) echo '{"access_key": {"key_id": "id"}, "secret": "secret"}' ;;
"iam create-token") echo token ;;
"iam service-account create --name "* | "storage bucket create --name "* | "container registry configure-docker") ;;
"storage bucket update --name "*" --versioning versioning-enabled --grants grant-type=grant-type-account,grantee-id=aje1,permission=permission-read --grants "*"grantee-id=aje1,permission=permission-write") ;;
"resource-manager folder add-access-binding b1folder --role "*" --subject serviceAccount:aje1") ;;
*) echo "yc: no such command: $*" >&2 && exit 1 ;;
esac
EOT
play docker <<'EOT'
case "$1" in
build) [[ "$*" == "build --platform linux/amd64 --build-arg WEEK=20"*" -f docker/"*"/Dockerfile -t cr.yandex/"*" ." ]] && [ -f "$7" ] ;;
push) [[ "$2" == cr.yandex/*/*:* ]] ;;
*) exit 1 ;;
esac
EOT
play curl <<'EOT'
case "$*" in
*ifconfig.me) case " $* " in *" -4 "*) echo 198.51.100.7 ;; *) echo 2001:db8::7 ;; esac ;;
*"http://$(cat "$WORK/edge-address")/log"*)
    # who is not known is refused; -K: a token that is not on the command line
    said="$*"
    if [[ "$*" == *"-K -"* ]]; then said=$(cat) && exec <<<"$said"; fi
    [[ "$said" == *"Authorization: Bearer "[0-9a-f]* ]] || { echo "curl: 401: $*" >&2 && exit 22; }
    arguments=()
    for word; do
        arguments+=("${word/"http://$(cat "$WORK/edge-address")"/$(sed -n 1p "$WORK/service")}")
    done
    PATH=${PATH#*:} exec curl "${arguments[@]}"
    ;;
*) echo "curl: no such address: $*" >&2 && exit 1 ;;
esac
EOT
play ssh <<'EOT'
case "$*" in
*"-J ops@"[0-9]*" ops@10."*" sudo docker exec "*"logbroker-clickhouse curl "*) there=$(sed -n 2p "$WORK/service") here=http://127.0.0.1:8123 ;;
*"-J ops@"[0-9]*" ops@10."*" curl "*" http://localhost:9145/cluster") there=$(sed -n 3p "$WORK/service") here=http://localhost:9145/cluster ;;
*) echo "ssh: nobody there: $*" >&2 && exit 1 ;;
esac
command=$*
command="curl ${command#* curl }"
export PATH=${PATH#*:}
exec bash -c "${command//"$here"/$there}"
EOT
# looks at inventory, vault and variables as it would, and stops there
play ansible-playbook <<'EOT'
ansible-inventory --list >/dev/null &&
    [ "$(ansible -m debug -a "msg={{ logbroker_clickhouse_password | length }}" broker-1 2>&1 | grep -cE 'msg"?: .?48')" = 1 ] &&
    PATH=${PATH#*:} ansible-playbook "$@" --list-tasks >/dev/null
EOT
play ansible <<'EOT'
[ "$*" = "all -m ping" ] && exec ansible-inventory --graph
PATH=${PATH#*:} exec ansible "$@"
EOT
play terraform <<'EOT'
[ "$PWD" = "$WORK/repository/terraform" ] || exit 1
tf() { PATH=${PATH#*:} "$TERRAFORM_OFFLINE" -w "$WORK/state" . "$@"; }
case "$*" in
"init -backend-config=prod.s3.tfbackend") grep -q '^bucket = "example-logbroker-tfstate"$' prod.s3.tfbackend ;;
"plan -var-file=prod.tfvars -out=prod.tfplan")
    grep -q '^admin_cidrs = \["198.51.100.7/32"\]$' prod.tfvars &&
        grep -q '^  "ssh-ed25519 .* you@example",$' prod.tfvars || exit 1
    [ -z "$TERRAFORM_OFFLINE" ] || { mkdir -p "$WORK/state" && tf plan -var-file=prod.tfvars; }
    touch prod.tfplan
    ;;
"output -raw service_address")
    if [ -n "$TERRAFORM_OFFLINE" ]; then tf "$@"; else echo 203.0.113.20; fi | tee "$WORK/edge-address" ;;
"apply prod.tfplan") [ -f prod.tfplan ] && { [ -z "$TERRAFORM_OFFLINE" ] || tf apply -var-file=prod.tfvars; } ;;
output*) if [ -n "$TERRAFORM_OFFLINE" ]; then tf "$@"; else
    case "$*" in
    "output -json ansible_inventory") python3 -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)' <../ansible/inventory.example.yml ;;
    "output -json inventory") echo '{"clickhouse-1": {"address": "10.10.128.10"}, "edge-1": {"address": "10.10.0.20"}}' ;;
    "output -raw registry") echo cr.yandex/crp1 ;;
    "output -raw jump_address") echo 203.0.113.10 ;;
    *) exit 1 ;;
    esac
fi ;;
*) exit 1 ;;
esac
EOT

{
    echo 'set -euo pipefail'
    awk '/^## / { hand = $0 == "## By hand" }
         /^```$/ { code = 0 }
         hand && code
         /^```sh$/ { code = 1 }' "$root/docs/deploy.md"
} >"$work/session"
[ "$(wc -l <"$work/session")" -gt 40 ] || { echo "FAIL  guide: docs/deploy.md has no commands under \"By hand\"" && exit 1; }

"$python" "$root/tests/deploy/guide_service.py" "$build" "$work" >"$work/service.log" 2>&1 &
service=$!
for _ in $(seq 600); do
    [ ! -s "$work/service" ] || break
    kill -0 "$service" 2>/dev/null || break
    sleep 0.1
done
[ -s "$work/service" ] || { echo "FAIL  guide: no service to send to" && cat "$work/service.log" && exit 1; }

export WORK=$work HOME=$work/home PATH=$work/bin:$PATH TERRAFORM_OFFLINE=${TERRAFORM_OFFLINE-}
cd "$work/repository"
if ! bash "$work/session" >"$work/log" 2>&1; then
    echo "FAIL  guide: the commands of docs/deploy.md; the last calls and words:"
    tail -n 5 "$work/calls"
    tail -n 20 "$work/log"
    exit 1
fi
grep -qx $'100\t100' "$work/log" || { echo "FAIL  guide: the hundred events" && tail "$work/log" && exit 1; }
grep '^{"broker":' "$work/log" | jq -se 'length == 2 and all(.accepted == .delivered and .delivered == 102 and .unaccounted == 0 and .exactly_once == "yes")' >/dev/null || { echo "FAIL  guide: the status" && tail "$work/log" && exit 1; }
grep -q 'smoke test: event .* is in ClickHouse' "$work/log" || { echo "FAIL  guide: no smoke test" && tail -n 40 "$work/log" && exit 1; }
[ "$(grep -c '^docker push cr.yandex/' "$work/calls")" = 3 ] || { echo "FAIL  guide: images were not pushed" && exit 1; }
head -n 1 ansible/group_vars/all/vault.yml | grep -q '^\$ANSIBLE_VAULT' || { echo "FAIL  guide: the vault is not encrypted" && exit 1; }
[ -z "$(git status --porcelain --untracked-files=all | grep -v '^ M')" ] || {
    echo "FAIL  guide: files that git does not ignore:"
    git status --porcelain
    exit 1
}
echo "ok    the commands of docs/deploy.md, $(wc -l <"$work/calls") calls"
