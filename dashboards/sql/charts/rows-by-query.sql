-- Rows by query: Rows that each query took in.
SELECT
    date_trunc('minute', started_at) AS started_at,
    query,
    SUM(rows) AS rows_taken
FROM serving.batches
WHERE started_at >= (SELECT max(started_at) FROM serving.batches) - INTERVAL 1 HOUR
GROUP BY date_trunc('minute', started_at), query
ORDER BY started_at, query
LIMIT 10000
