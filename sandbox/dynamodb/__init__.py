"""DynamoDB in front of moto: values, expressions, tables."""
