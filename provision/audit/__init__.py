"""Which known vulnerabilities are open in an appliance: components against advisories, offline."""
