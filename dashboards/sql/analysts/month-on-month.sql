-- Complaints a month, the month before, and the change in percent.
WITH months AS (
    SELECT date_trunc('month', date_received) AS received_month, sum(complaints) AS complaints
    FROM gold.complaints_by_day
    GROUP BY date_trunc('month', date_received)
)
SELECT
    received_month,
    complaints,
    lag(complaints) OVER (ORDER BY received_month) AS before,
    round(1e2 * complaints / lag(complaints) OVER (ORDER BY received_month) - 100, 1) AS change_percent
FROM months
ORDER BY received_month
