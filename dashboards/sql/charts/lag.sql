-- Lag: Messages that waited in Kafka, by minute.
SELECT
    date_trunc('minute', started_at) AS started_at,
    MAX(lag_rows) AS lag
FROM serving.batches
WHERE in_latest_hour
GROUP BY date_trunc('minute', started_at)
ORDER BY started_at
LIMIT 1000
