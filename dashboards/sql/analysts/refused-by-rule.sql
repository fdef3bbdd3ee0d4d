-- What silver refused and why: rows by the rule that they broke.
SELECT
    rule,
    field,
    sum(broken) AS broken_rows
FROM serving.expectations
WHERE severity = 'quarantine'
GROUP BY rule, field
ORDER BY broken_rows DESC, rule
