"""Reads Prometheus text on standard input with the reference parser; prints NAME{LABELS} VALUE a line, checks histograms."""
import sys
from prometheus_client.parser import text_string_to_metric_families

seen = set()
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.name not in seen, f"{family.name} twice"
    assert family.documentation, f"{family.name} has no help"
    seen.add(family.name)
    if family.type == "histogram":
        buckets = [s.value for s in family.samples if s.name.endswith("_bucket")]
        count = next(s.value for s in family.samples if s.name.endswith("_count"))
        assert buckets == sorted(buckets) and buckets[-1] == count, family.name
    for s in family.samples:
        labels = ",".join(f"{k}={v}" for k, v in sorted(s.labels.items()))
        print(f"{family.type} {s.name}{{{labels}}} {s.value}")
