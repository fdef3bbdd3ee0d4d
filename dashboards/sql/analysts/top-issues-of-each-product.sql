-- The three issues complained about most, of each product.
WITH counted AS (
    SELECT product_family, issue, sum(complaints) AS complaints
    FROM gold.complaints_by_day
    GROUP BY product_family, issue
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY product_family ORDER BY complaints DESC, issue) AS place
    FROM counted
)
SELECT product_family, place, issue, complaints
FROM ranked
WHERE place <= 3
ORDER BY product_family, place
