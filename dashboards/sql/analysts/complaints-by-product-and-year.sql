-- How the mix of products changed over the years.
SELECT
    year(date_received) AS received_year,
    product_family,
    sum(complaints) AS complaints
FROM gold.complaints_by_day
GROUP BY year(date_received), product_family
ORDER BY received_year, complaints DESC, product_family
