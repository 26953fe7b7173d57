"""What happens inside a model, module by module: shapes, dtypes, memory, operations. No weights, no GPU."""
