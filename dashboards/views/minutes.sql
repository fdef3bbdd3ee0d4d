-- What arrived each minute. One row: minute of arrival, product, urgency.
SELECT
    m.minute,
    m.product_family AS product,
    m.urgency,
    m.complaints,
    m.escalated,
    m.critical,
    m.high,
    m.without_text,
    m.probability_sum,
    m.latency_ms_sum,
    m.latency_ms_max
FROM gold.complaints_by_minute AS m
