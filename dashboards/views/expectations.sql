-- Which rules of conf/expectations.yaml were broken. One row: one rule broken in one batch.
SELECT
    e.refined_at,
    e.rule,
    e.field,
    e.severity,
    e.checked,
    e.broken
FROM silver.expectations AS e
