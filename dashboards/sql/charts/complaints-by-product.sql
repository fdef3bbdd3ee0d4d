-- Complaints by product: What people complain about; click a product to see only that.
SELECT
    product,
    COUNT(*) AS complaints
FROM serving.complaints
GROUP BY product
ORDER BY complaints DESC, product
LIMIT 12
