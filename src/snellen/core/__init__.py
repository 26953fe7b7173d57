"""The vocabulary that all parts share: findings, evidence, rules, run folders. Standard library only."""
