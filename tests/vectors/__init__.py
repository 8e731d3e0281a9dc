"""Frozen test vectors: good ones that must be reproduced, bad ones that must be refused."""
