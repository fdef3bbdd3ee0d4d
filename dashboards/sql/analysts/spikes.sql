-- Days on which a product had at least three times as many complaints as it has on a usual day.
WITH days AS (
    SELECT product_family, date_received, sum(complaints) AS complaints
    FROM gold.complaints_by_day
    GROUP BY product_family, date_received
),
usual AS (
    SELECT product_family, percentile(complaints, 0.5) AS usual_day
    FROM days
    GROUP BY product_family
)
SELECT d.date_received, d.product_family, d.complaints, u.usual_day
FROM days AS d
JOIN usual AS u ON u.product_family = d.product_family
WHERE d.complaints >= 3 * u.usual_day AND d.complaints >= 10
ORDER BY d.complaints DESC, d.date_received, d.product_family
LIMIT 50
