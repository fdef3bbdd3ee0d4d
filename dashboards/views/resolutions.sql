-- What became of each decided complaint. One row: one scored complaint whose outcome was reported.
SELECT
    d.complaint_id,
    d.date_received,
    d.product_family AS product,
    d.issue,
    d.company,
    d.state,
    d.submitted_via AS channel,
    o.company_response,
    o.response_class,
    o.timely_response,
    o.is_final,
    o.is_relief,
    o.is_monetary_relief,
    o.processing_days AS resolution_days,
    o.successful_resolution
FROM silver.outcomes AS o
JOIN gold.decisions AS d ON d.complaint_id = o.complaint_id
