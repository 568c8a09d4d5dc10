(** T6: what centering has taken from label-pure batches no linear head gets back. *)
From Coq Require Import Reals Lra Lia Arith Bool.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Definitions Statements Sums Calculus Jacobian CrossEntropy.
Open Scope R_scope.

(** Jensen's inequality for exp: the log-sum-exp is at least the mean plus log C. *)
Lemma log_sum_exp_ge C z : (1 <= C)%nat ->
  log (INR C) + \mean_(c < C) z c <= log (\sum_(c < C) exp (z c)).
Proof.
  intros HC. set (m := mean C z). assert (PC := INR_pos C HC).
  rewrite <- (log_exp m), <- log_mult by (try apply exp_pos; assumption).
  apply log_le; [apply Rmult_lt_0_compat; [assumption | apply exp_pos]|].
  replace (INR C * exp m) with (\sum_(c < C) exp m * (1 + (z c - m))).
  - apply fsum_le; intros c _.
    replace (exp (z c)) with (exp m * exp (z c - m)) by (rewrite <- exp_plus; f_equal; ring).
    apply Rmult_le_compat_l; [apply Rlt_le, exp_pos | apply exp_ge].
  - rewrite fsum_scal, fsum_plus, fsum_const, fsum_minus, fsum_const, (fsum_mean C z HC).
    fold m. ring.
Qed.

(** Of centred features every output has its bias for mean. *)
Lemma mean_linear_head n D W b y c : (1 <= n)%nat ->
  (forall d, (d < D)%nat -> \mean_(i < n) y i d = 0) ->
  \mean_(i < n) linear_head D W b y i c = b c.
Proof.
  intros Hn E. unfold linear_head. rewrite mean_plus, mean_const, mean_fsum_swap by assumption.
  rewrite fsum_zero; [ring|]. intros d Hd. rewrite mean_scal, E by assumption. ring.
Qed.

Theorem T6_holds : T6.
Proof.
  intros C D n y W b HC Hn E. assert (PC := INR_pos C HC).
  assert (B : forall t, (t < C)%nat -> log (INR C) + mean C b - b t
    <= \mean_(i < n t) cross_entropy C (linear_head D W b (y t) i) t).
  { intros t Ht. specialize (Hn t Ht). unfold cross_entropy. rewrite mean_minus.
    rewrite (mean_linear_head (n t) D W b (y t) t Hn) by auto.
    apply Rplus_le_compat_r.
    replace (log (INR C) + mean C b)
      with (\mean_(i < n t) (log (INR C) + \mean_(c < C) linear_head D W b (y t) i c)).
    - apply mean_le; [assumption|]. intros i _. now apply log_sum_exp_ge.
    - rewrite mean_plus, mean_const by assumption. f_equal.
      unfold mean at 1 2, Rdiv. rewrite fsum_scal_r, fsum_swap.
      transitivity (\mean_(c < C) \mean_(i < n t) linear_head D W b (y t) i c).
      + unfold mean, Rdiv. rewrite fsum_scal_r. ring.
      + apply mean_ext; intros c _. apply mean_linear_head; auto. }
  apply Rle_trans with (\mean_(t < C) (log (INR C) + mean C b - b t)).
  - rewrite mean_minus, mean_const by assumption. change (\mean_(i < C) b i) with (mean C b). lra.
  - now apply mean_le.
Qed.

(** A linear head behind an affine phase is a linear head. *)
Lemma linear_head_affine D W b gamma beta y i c :
  linear_head D W b (affine gamma beta y) i c
  = linear_head D (fun c d => W c d * gamma d)
      (fun c => (\sum_(d < D) W c d * beta d) + b c) y i c.
Proof.
  unfold linear_head, affine. rewrite <- Rplus_assoc, <- fsum_plus. f_equal.
  apply fsum_ext; intros; ring.
Qed.

Lemma cross_entropy_ext C z z' t : (forall c, z c = z' c) ->
  cross_entropy C z t = cross_entropy C z' t.
Proof.
  intros E. unfold cross_entropy. rewrite E. do 2 f_equal. apply fsum_ext; intros c _.
  now rewrite E.
Qed.

Theorem T6_bn_holds : T6_bn.
Proof.
  intros C D n x eps gamma beta W b HC Hn.
  eapply Rle_trans; [apply (T6_holds C D n (fun t => bn (n t) eps (x t))
    (fun c d => W c d * gamma d) (fun c => (\sum_(d < D) W c d * beta d) + b c) HC Hn)|].
  - intros t d Ht _. now apply mean_bn, Hn.
  - apply Req_le, mean_ext; intros t _. apply mean_ext; intros i _.
    apply cross_entropy_ext; intros c. symmetry. apply linear_head_affine.
Qed.

Theorem T6_center_holds : T6_center.
Proof.
  intros C D n x W b HC Hn. apply T6_holds; try assumption.
  intros t d Ht _. now apply mean_centred, Hn.
Qed.

Theorem T6_attained_holds : T6_attained.
Proof.
  intros C D n y HC Hn.
  rewrite (mean_ext C _ (fun _ => log (INR C))); [now apply mean_const|]. intros t Ht.
  rewrite (mean_ext (n t) _ (fun _ => log (INR C))); [now apply mean_const, Hn|]. intros i _.
  assert (Z : forall c, linear_head D (fun _ _ => 0) (fun _ => 0) (y t) i c = 0).
  { intros c. unfold linear_head. rewrite fsum_zero by (intros; ring). ring. }
  unfold cross_entropy. rewrite Z, (fsum_ext C _ (fun _ => 1)).
  - rewrite fsum_const, Rmult_1_r. ring.
  - intros c _. now rewrite Z, exp_0.
Qed.

Theorem T6_needs_centering_holds : T6_needs_centering.
Proof.
  unfold T6_needs_centering. replace (mean 2 _) with (log (1 + exp (-2))).
  - apply log_lt; [assert (A := exp_pos (-2)); lra|].
    assert (A : exp (-2) < exp 0) by (apply exp_lt; lra). rewrite exp_0 in A. lra.
  - unfold mean, cross_entropy, linear_head, own_class, own_class_weights, own_class_bias. simpl.
    replace (0 + exp (0 + 4 * 0 * 0 + -2 * 0) + exp (0 + 4 * 1 * 0 + -2 * 1))
      with (1 + exp (-2)).
    + replace (0 + exp (0 + 4 * 0 * 1 + -2 * 0) + exp (0 + 4 * 1 * 1 + -2 * 1))
        with (exp 2 * (1 + exp (-2))).
      * rewrite log_mult, log_exp; [field | apply exp_pos | assert (A := exp_pos (-2)); lra].
      * rewrite Rmult_plus_distr_l, <- exp_plus.
        replace (2 + -2) with 0 by ring. rewrite exp_0.
        replace (0 + 4 * 0 * 1 + -2 * 0) with 0 by ring. rewrite exp_0.
        replace (0 + 4 * 1 * 1 + -2 * 1) with 2 by ring. ring.
    + replace (0 + 4 * 0 * 0 + -2 * 0) with 0 by ring. rewrite exp_0.
      replace (0 + 4 * 1 * 0 + -2 * 1) with (-2) by ring. ring.
Qed.
