"""What Ostinato is measured against, each written as those who know it well would."""
