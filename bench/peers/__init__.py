"""Who is measured. A peer knows how its server is started well and how it is spoken to, and nothing else."""
