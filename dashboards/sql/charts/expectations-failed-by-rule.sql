-- Expectations failed by rule: Rows that broke each rule.
SELECT
    rule,
    severity,
    SUM(broken) AS broken_rows
FROM serving.expectations
GROUP BY rule, severity
ORDER BY broken_rows DESC, rule
LIMIT 10
