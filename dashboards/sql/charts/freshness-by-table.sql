-- Freshness by table: When each table last changed.
SELECT
    table_name,
    row_count,
    state
FROM serving.freshness
ORDER BY last_change DESC
LIMIT 100
