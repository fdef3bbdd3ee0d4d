-- What became of each complaint. One row: one complaint whose outcome was reported.
SELECT
    o.complaint_id,
    o.complaint_received AS date_received,
    o.complaint_product AS product,
    o.complaint_issue AS issue,
    o.complaint_company AS company,
    o.complaint_state AS state,
    o.complaint_channel AS channel,
    o.company_response,
    o.response_class,
    o.timely_response,
    o.is_final,
    o.is_relief,
    o.is_monetary_relief,
    o.processing_days AS resolution_days,
    o.successful_resolution,
    origin(o.complaint_is_synthetic) AS origin
FROM silver.outcomes AS o
