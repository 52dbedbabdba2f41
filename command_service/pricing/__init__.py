"""What things cost: price lists, promotions and coupons."""
