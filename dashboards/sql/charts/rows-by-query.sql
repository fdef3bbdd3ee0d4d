-- Rows by query: Rows that each query took in.
SELECT
    date_trunc('minute', started_at) AS started_at,
    query,
    SUM(rows) AS rows_taken
FROM serving.batches
WHERE in_latest_hour
GROUP BY date_trunc('minute', started_at), query
ORDER BY started_at, query
LIMIT 10000
