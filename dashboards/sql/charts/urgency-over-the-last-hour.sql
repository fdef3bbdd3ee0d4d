-- Urgency over the last hour: Complaints a minute by urgency.
SELECT
    date_trunc('minute', minute) AS minute,
    urgency,
    SUM(complaints) AS complaints
FROM serving.minutes
WHERE minute >= (SELECT max(minute) FROM serving.minutes) - INTERVAL 1 HOUR
GROUP BY date_trunc('minute', minute), urgency
ORDER BY minute, urgency
LIMIT 10000
