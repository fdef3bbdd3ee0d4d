-- Batch time by query: Milliseconds that a batch takes.
SELECT
    date_trunc('minute', started_at) AS started_at,
    query,
    percentile(batch_ms, 0.5) AS batch_p50,
    percentile(batch_ms, 0.99) AS batch_p99
FROM serving.batches
WHERE started_at >= (SELECT max(started_at) FROM serving.batches) - INTERVAL 1 HOUR
GROUP BY date_trunc('minute', started_at), query
ORDER BY started_at, query
LIMIT 10000
