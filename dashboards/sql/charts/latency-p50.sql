-- Latency p50: Median seconds from Kafka to the score, by minute.
SELECT
    date_trunc('minute', scored_at) AS scored_at,
    percentile(latency_s, 0.5) AS latency_p50
FROM serving.decisions
WHERE in_latest_hour
GROUP BY date_trunc('minute', scored_at)
ORDER BY scored_at
LIMIT 1000
