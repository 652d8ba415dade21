"""What is wrong with a set of pictures: `muntin data check`."""

from muntin.data.checking.check import Findings as Findings
from muntin.data.checking.check import check_data as check_data

__all__ = ["Findings", "check_data"]
