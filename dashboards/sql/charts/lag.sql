-- Lag: Messages that waited in Kafka, by minute.
SELECT
    date_trunc('minute', started_at) AS started_at,
    MAX(lag_rows) AS lag
FROM serving.batches
WHERE started_at >= (SELECT max(started_at) FROM serving.batches) - INTERVAL 1 HOUR
GROUP BY date_trunc('minute', started_at)
ORDER BY started_at
LIMIT 1000
