-- Lag by minute: Most messages that waited in Kafka.
SELECT
    date_trunc('minute', started_at) AS started_at,
    MAX(lag_rows) AS lag
FROM serving.batches
WHERE in_latest_hour
GROUP BY date_trunc('minute', started_at)
ORDER BY started_at
LIMIT 10000
