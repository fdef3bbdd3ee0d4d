"""Bronze: land Kafka messages and export files unchanged as rows of bronze.complaints."""
