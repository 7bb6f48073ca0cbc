"""What tests of durable functions and of adapters may use. Nothing here is imported by the product."""
