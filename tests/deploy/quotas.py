#!/usr/bin/env python3
"""Compares what docs/ say of quotas and costs with plans.

    quotas.py deploy-terraform.md deploy.md EXAMPLE.json DEFAULTS.json

The last two are `terraform show -json` of plans: of prod.tfvars.example as it
is, and without its sizes. What is above the quota of a new cloud has to be in
bold, and nothing of the example may be.
"""

import json
import re
import sys


def quantities(path):
    plan = json.load(open(path))["planned_values"]
    billable = plan["outputs"]["billable"]["value"]
    types = [r["type"] for r in plan["root_module"]["resources"] if r["mode"] == "managed"]
    return {
        "machines": billable["machines"],
        "vCPUs": sum(billable["vcpus"].values()),
        "vCPUs at 100 %": billable["vcpus"]["100"],
        "vCPUs at 20 % (jump host)": billable["vcpus"]["20"],
        "memory": billable["memory_gb"],
        "SSD": billable["disk_gb"]["network-ssd"],
        "public addresses": billable["public_addresses"],
        "static addresses": types.count("yandex_vpc_address"),
        "networks": types.count("yandex_vpc_network"),
        "subnets": types.count("yandex_vpc_subnet"),
        "route tables": types.count("yandex_vpc_route_table"),
        "security groups": types.count("yandex_vpc_security_group") + 1,
        "load balancers": types.count("yandex_lb_network_load_balancer"),
        "target groups": types.count("yandex_lb_target_group"),
        "disks": billable["machines"] + types.count("yandex_compute_disk"),
    }


def table(page, first):
    """Rows of the table whose first heading is `first`."""
    rows = []
    for line in open(page):
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if not rows and cells[0] != first:
            continue
        if not line.lstrip().startswith("|"):
            break
        rows.append(cells)
    assert len(rows) > 2, f"{page}: no table that begins with {first!r}"
    return rows[2:]


def number(cell):
    return int(re.match(r"\**(\d+)", cell)[1])


terraform_page, deploy_page, example, defaults = sys.argv[1:]
plans = [quantities(example), quantities(defaults)]
wrong = []


def same(page, name, cell, value):
    if number(cell) != value:
        wrong.append(f"{page}: {name}: {cell}, and the plan has {value}")


told = set()
for name, *cells in table(terraform_page, "quota"):
    quota = number(cells[2])
    told.add(name)
    for cell, plan in zip(cells, plans):
        same(terraform_page, name, cell, plan[name])
        if (plan[name] > quota) != cell.startswith("**"):
            wrong.append(f"{terraform_page}: {name}: {cell} of {quota}: what is above has to be in bold, and only that")
    if plans[0][name] > quota:
        wrong.append(f"prod.tfvars.example needs {plans[0][name]} of {name}; a new cloud has {quota}")
untold = set(plans[0]) - told - {"vCPUs at 100 %", "vCPUs at 20 % (jump host)"}
if untold:
    wrong.append(f"{terraform_page}: no quota for {', '.join(sorted(untold))}")

for name, *cells in table(terraform_page, "quantity"):
    if name in plans[0]:
        for cell, plan in zip(cells, plans):
            same(terraform_page, name, cell, plan[name])

# A month with the prices that docs/deploy.md assumes.
names = {"vCPUs": "vCPUs", "memory": "memory", "SSD": "SSD", "three public": "public addresses",
         "a load": "load balancers", "**all": "**all, roughly**"}
rows = {to: cells for name, *cells in table(deploy_page, "a month")
        for start, to in names.items() if name.startswith(start)}
text = open(deploy_page).read()
hour, fraction, memory, address, balancer, ssd = (
    float(re.search(pattern, text)[1])
    for pattern in (
        r"\$([\d.]+) per hour of a full vCPU", r"\$([\d.]+) of one at 20 %",
        r"\$([\d.]+) per GB of memory", r"\$([\d.]+) per address",
        r"\$([\d.]+) per load balancer", r"\$([\d.]+) per GB of SSD and month"))
for column, plan in enumerate(plans):
    costs = {
        "vCPUs": 720 * (hour * plan["vCPUs at 100 %"] + fraction * plan["vCPUs at 20 % (jump host)"]),
        "memory": 720 * memory * plan["memory"],
        "SSD": ssd * plan["SSD"],
        "public addresses": 720 * address * plan["public addresses"],
        "load balancers": 720 * balancer * plan["load balancers"],
    }
    costs["**all, roughly**"] = sum(costs.values())
    for name, cost in costs.items():
        cell = rows[name][column]
        said = int(re.search(r"\$(\d+)", cell)[1])
        if abs(said - cost) > (5 if "all" in name else 0.5001):
            wrong.append(f"{deploy_page}: {name}: {cell}, and it is ${cost:.1f}")

print("\n".join(wrong) or "as the plans say")
sys.exit(1 if wrong else 0)
