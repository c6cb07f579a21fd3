"""The parts of the state machine of money, and where each invariant is looked at.

`base.everything_holds` runs after every step: `differences` is the product's own comparison,
`statements` finds rows that break a rule, `order` plays the lots again, `digest` remembers what was
written, and the rest compares with `model`. A rule has checks of its own where it says so.

====  ==============================================  ============================================
I1    entries balance                                 deferred triggers (`judge_now`), statement
I2    the journal is append-only                      digest; rule `meddle`
I3    a balance is the sum of its postings            `differences`; house accounts by the model
I4    one key is one deed                             rules `meddle`, `give`, `deliver`, `start`,
                                                      `stop`: all said twice, or with other content
I5    no account below its floor                      statement; rule `start` (holds)
I6    all postings sum to zero                        `differences`
I7    use does not overlap, ends after it starts,     two statements; `usage_is_the_models`; rules
      and not past the last proof of life             `see`, `stop` (unproven ends)
I8    split invariance, to the micro-unit             statement; `funds_are_the_models`
I9    slices conserve time and money                  two statements
I10   one list price at any instant                   statement; rule `change_price` (probes)
I11   rated = invoiced = earned, by month             statement; `differences`
I12   documents add up; notes stay within them        four statements; `tax_is_what_documents_say`;
                                                      rules `close_months` (raw use), `take_back`
I13   documents stay; numbers have no gaps            digest; `differences`; rule `meddle`
I14   each payment is one credit, each credit one     two statements;
      payment                                         `statuses_are_what_we_were_told`; at the
                                                      sandbox `cards._compare`
I15   refunds within what was paid and is unused      statement; rule `refund_ours`
I16   lots: bounds, sums, order                       statement; `differences`; `order`
I17   the ledger's balance at Stripe is Stripe's      `clearing_is_what_we_were_told`; rule
                                                      `reconcile`
I18   automatic top-up: one, an hour, a maximum       statement; `automatic_top_up_is_the_models`;
                                                      rule `top_up_automatically`
I19   work ends a tick and a grace after the money    rules `live`, `live_through_the_end_of_credit`
I20   a reversal mirrors one entry, once              two statements
====  ==============================================  ============================================
"""
