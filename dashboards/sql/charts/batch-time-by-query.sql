-- Batch time by query: Milliseconds that a batch takes: median and 99th percentile, by minute.
SELECT
    date_trunc('minute', started_at) AS started_at,
    query,
    percentile(batch_ms, 0.5) AS p50,
    percentile(batch_ms, 0.99) AS p99
FROM serving.batches
WHERE in_latest_hour
GROUP BY date_trunc('minute', started_at), query
ORDER BY started_at, query
LIMIT 10000
