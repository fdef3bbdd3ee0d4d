-- Urgency over the latest hour: Complaints a minute by urgency.
SELECT
    date_trunc('minute', minute) AS minute,
    urgency,
    SUM(complaints) AS complaints
FROM serving.minutes
WHERE in_latest_hour
GROUP BY date_trunc('minute', minute), urgency
ORDER BY minute, urgency
LIMIT 10000
